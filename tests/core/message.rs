//! Messages: owned, borrowed, and text that is known to be valid.

use bowline::{Message, MessageRef, Text};
use bytes::Bytes;

#[test]
fn text_is_made_from_bytes_only_if_they_are_utf_8() {
    for valid in ["", "größer", "𝄞\0"] {
        let text = Text::from_utf8(Bytes::copy_from_slice(valid.as_bytes())).unwrap();
        assert_eq!((text.as_str(), &*text), (valid, valid));
        assert_eq!(text, *valid);
        assert_eq!(text, valid);
    }
    for invalid in [&b"\xff"[..], b"ok\xed\xa0\x80", b"\xe2\x82"] {
        let error = Text::from_utf8(Bytes::copy_from_slice(invalid)).unwrap_err();
        assert_eq!(error, std::str::from_utf8(invalid).unwrap_err());
    }
}

#[test]
fn text_gives_its_bytes_back_without_a_copy() {
    let bytes = Bytes::from(vec![b'x'; 100]);
    let place = bytes.as_ptr();
    let text = Text::from_utf8(bytes).unwrap();
    assert_eq!(text.clone().into_bytes().as_ptr(), place);
    assert_eq!(Message::from(text).into_bytes().as_ptr(), place);
}

#[test]
fn a_message_looks_the_same_owned_and_borrowed() {
    let data = || Bytes::from_static(b"data");
    for (message, borrowed, text) in [
        (Message::from("text"), MessageRef::Text("text"), Some("text")),
        (Message::Binary(data()), MessageRef::Binary(b"data"), None),
        (Message::Ping(data()), MessageRef::Ping(b"data"), None),
        (Message::Pong(data()), MessageRef::Pong(b"data"), None),
    ] {
        assert_eq!(message.borrow(), borrowed);
        assert_eq!(MessageRef::from(&message), borrowed);
        assert_eq!(borrowed.to_message(), message);
        assert_eq!(Message::from(borrowed), message);
        assert_eq!(message.as_text(), text);
        assert_eq!(message.as_bytes(), borrowed.as_bytes());
        assert_eq!(message.into_bytes(), borrowed.as_bytes());
    }
}

#[test]
fn text_shows_as_text() {
    let text = Text::from("a\"b");
    assert_eq!(format!("{text} {text:?}"), "a\"b Text(3 bytes)");
    assert_eq!(Text::from(String::from("a")), Text::from("a"));
    assert_eq!(Text::default(), "");
}

#[test]
fn text_and_bytes_of_any_kind_become_messages() {
    use std::borrow::Cow;
    use std::sync::Arc;
    let owned = String::from("text");
    let texts: [Message; 7] = [
        "text".into(),
        (&owned).into(),
        owned.clone().into(),
        Box::<str>::from("text").into(),
        Arc::<str>::from("text").into(),
        Cow::Borrowed("text").into(),
        Cow::<str>::Owned(owned.clone()).into(),
    ];
    assert!(texts.iter().all(|message| message.as_text() == Some("text")));
    let vec = vec![1u8, 2, 3];
    let binaries: [Message; 8] = [
        (&vec[..]).into(),
        (&vec).into(),
        vec.clone().into(),
        b"\x01\x02\x03".into(),
        [1u8, 2, 3].into(),
        vec.clone().into_boxed_slice().into(),
        Cow::Borrowed(&vec[..]).into(),
        Cow::<[u8]>::Owned(vec.clone()).into(),
    ];
    assert!(binaries.iter().all(|message| *message == Message::Binary(vec.clone().into())));
    let lent: [MessageRef<'_>; 3] = [(&vec).into(), (&[1u8, 2, 3]).into(), (&vec[..]).into()];
    assert!(lent.iter().all(|message| *message == MessageRef::Binary(&vec)));
    assert_eq!(MessageRef::from(&owned), MessageRef::Text("text"));
}
