use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{ClientRequestBuilder, Error, Message, connect};

/// The answers to as many questions, and the code that the server closed with if it did before the last.
#[allow(clippy::result_large_err)]
pub fn ask(url: &str, questions: &[&str]) -> Result<(Vec<String>, Option<u16>), Error> {
    let request = ClientRequestBuilder::new(url.parse()?)
        .with_header("Authorization", "Bearer s3cret")
        .with_sub_protocol("shout.v1");
    let (mut ws, response) = connect(request)?;
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "shout.v1");
    for question in questions {
        ws.write(Message::text(*question))?;
    }
    ws.flush()?;
    let (mut answers, mut code) = (Vec::new(), None);
    while answers.len() < questions.len() {
        match ws.read() {
            Ok(Message::Text(text)) => answers.push(text.to_string()),
            Ok(Message::Close(frame)) => code = frame.map(|frame| u16::from(frame.code)),
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return Ok((answers, code)),
            Err(error) => return Err(error),
        }
    }
    ws.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))?;
    loop {
        match ws.read() {
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return Ok((answers, None)),
            Err(error) => return Err(error),
        }
    }
}
