use bowline::blocking::connect_with;
use bowline::handshake::ClientRequest;
use bowline::{Config, Error, Message};

/// The answers to as many questions, and the code that the server closed with if it did before the last.
pub fn ask(url: &str, questions: &[&str]) -> Result<(Vec<String>, Option<u16>), Error> {
    let request = ClientRequest::new(url)?
        .header("Authorization", "Bearer s3cret")?
        .subprotocol("shout.v1")?;
    let (mut ws, response) = connect_with(&request, Config::default())?;
    assert_eq!(response.subprotocol(), Some("shout.v1"));
    for question in questions {
        ws.feed(*question)?;
    }
    let mut answers = Vec::new();
    while answers.len() < questions.len() {
        match ws.recv()? {
            Some(Message::Text(text)) => answers.push(text.to_string()),
            Some(_) => {}
            None => return Ok((answers, ws.end().map(|end| end.code().get()))),
        }
    }
    ws.close(1000, "")?;
    Ok((answers, None))
}
