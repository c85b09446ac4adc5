//! Messages, texts and codes as values.

use bowline_tungstenite::protocol::CloseFrame;
use bowline_tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use bowline_tungstenite::{Bytes, Message, Utf8Bytes};

#[test]
fn messages_are_made_of_what_programs_have_and_give_it_back() {
    let text = Message::from("text");
    assert!(text.is_text() && !text.is_binary() && !text.is_empty());
    assert_eq!((text.len(), text.to_text().unwrap(), &*text.to_string()), (4, "text", "text"));
    assert_eq!(text.clone().into_data(), "text");
    assert_eq!(text.into_text().unwrap(), "text");
    for binary in
        [Message::from(vec![0xff]), Message::from(&[0xff][..]), Message::binary(vec![0xff])]
    {
        assert!(binary.is_binary() && binary.to_text().is_err());
        assert_eq!(binary.to_string(), "1 bytes");
        assert_eq!(Bytes::from(binary), [0xff][..]);
    }
    assert_eq!(Message::binary("utf8").into_text().unwrap(), "utf8");
    let close = CloseFrame { code: CloseCode::Away, reason: "why".into() };
    assert_eq!(Message::Close(Some(close)).to_text().unwrap(), "why");
    assert_eq!(Message::Close(None).len(), 0);
    assert!(Message::Close(None).is_close() && Message::Ping(Bytes::new()).is_ping());
    assert!(Message::Pong(Bytes::new()).is_pong());
}

#[test]
fn a_text_is_checked_compares_with_strings_and_shares_its_bytes() {
    const STATIC: Utf8Bytes = Utf8Bytes::from_static("static");
    assert_eq!(STATIC, "static");
    assert_eq!(STATIC, String::from("static"));
    assert!(Utf8Bytes::try_from(vec![0xff]).is_err());
    assert!(Utf8Bytes::try_from(Bytes::from_static(b"ok")).is_ok());
    let shared = Bytes::from(String::from("shared"));
    let text = Utf8Bytes::try_from(shared.clone()).unwrap();
    let again: Bytes = text.clone().into();
    assert_eq!(again.as_ptr(), shared.as_ptr());
    assert_eq!(AsRef::<Bytes>::as_ref(&text), &shared);
    let mut map = std::collections::HashMap::new();
    map.insert(text, 1);
    assert_eq!(map.get("shared"), Some(&1));
    assert_eq!(format!("{STATIC:?} {STATIC}"), "Utf8Bytes(\"static\") static");
}

#[test]
fn codes_have_the_numbers_of_the_rfc_and_unknown_ones_stay() {
    for number in 0..=u16::MAX {
        let code = CloseCode::from(number);
        assert_eq!(u16::from(code), number);
        let allowed = matches!(number, 1000..=1003 | 1007..=1013 | 3000..5000);
        assert_eq!(code.is_allowed(), allowed, "{number}");
        assert_eq!(code.to_string(), number.to_string());
    }
    assert_eq!(CloseCode::from(1001), CloseCode::Away);
    assert_eq!(CloseCode::from(3001), CloseCode::Iana(3001));
    assert_eq!(CloseCode::from(4001), CloseCode::Library(4001));
    for number in 0..16 {
        assert_eq!(u8::from(OpCode::from(number)), number);
    }
    assert_eq!(OpCode::from(2), OpCode::Data(Data::Binary));
    assert_eq!(OpCode::from(15), OpCode::Control(Control::Reserved(15)));
}

#[test]
fn values_can_go_to_other_threads_and_errors_are_small() {
    fn shared<T: Send + Sync + Unpin + 'static>() {}
    shared::<bowline_tungstenite::WebSocket<std::net::TcpStream>>();
    shared::<bowline_tungstenite::protocol::WebSocketContext>();
    shared::<bowline_tungstenite::Error>();
    shared::<Message>();
    let sizes = [size_of::<bowline_tungstenite::Error>(), size_of::<Message>()];
    assert!(sizes[0] <= 32 && sizes[1] <= 56, "{sizes:?}");
}
