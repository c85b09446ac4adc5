use std::error::Error;

use bowline::tokio::WebSocket;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Question {
    Add { a: i64, b: i64 },
    Shout { text: String },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer {
    Sum { sum: i64 },
    Shouted { text: String },
    Error { error: String },
}

fn answer(question: Question) -> Answer {
    match question {
        Question::Add { a, b } => match a.checked_add(b) {
            Some(sum) => Answer::Sum { sum },
            None => Answer::Error { error: "the sum is too large".into() },
        },
        Question::Shout { text } => Answer::Shouted { text: text.to_uppercase() },
    }
}

pub async fn converse<S>(mut ws: WebSocket<S>) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = ws.recv().await? {
        let answer = match serde_json::from_slice(message.as_bytes()) {
            Ok(question) => answer(question),
            Err(error) => Answer::Error { error: error.to_string() },
        };
        ws.feed(serde_json::to_string(&answer)?).await?;
    }
    Ok(())
}
