use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

use bowline::tokio::WebSocket;
use bowline::{Error, Message};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Sends the length as a text message, and then the file as a binary one. `progress` is told how many bytes of how many
/// were handed over.
pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    ws: &mut WebSocket<S>,
    path: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), Error> {
    let mut file = File::open(path).await?;
    let length = file.metadata().await?.len();
    ws.feed(length.to_string()).await?;
    let mut buffer = vec![0; 64 << 10];
    let mut sent = 0;
    loop {
        let n = file.read(&mut buffer).await?;
        ws.send_part(&buffer[..n], n == 0).await?;
        if n == 0 {
            return Ok(());
        }
        sent += n as u64;
        progress(sent, length);
    }
}

/// Receives a file. If it does not come whole, what came is removed.
pub async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    ws: &mut WebSocket<S>,
    path: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<u64, Error> {
    let mut file = File::create_new(path).await?;
    let received = receive_into(ws, &mut file, progress).await;
    if received.is_err() {
        let _ = tokio::fs::remove_file(path).await;
    }
    received
}

async fn receive_into<S: AsyncRead + AsyncWrite + Unpin>(
    ws: &mut WebSocket<S>,
    file: &mut File,
    mut progress: impl FnMut(u64, u64),
) -> Result<u64, Error> {
    let length = match ws.recv().await? {
        Some(Message::Text(text)) => text.parse().ok(),
        _ => None,
    };
    let Some(length) = length else {
        return Err(IoError::new(ErrorKind::InvalidData, "no length came").into());
    };
    let mut received = 0;
    while let Some(part) = ws.recv_part().await? {
        let (bytes, last) = (part.payload.as_bytes(), part.last);
        received += bytes.len() as u64;
        if received > length {
            return Err(IoError::new(ErrorKind::InvalidData, "more came than was said").into());
        }
        file.write_all(bytes).await?;
        progress(received, length);
        if last {
            break;
        }
    }
    if received < length {
        return Err(IoError::new(ErrorKind::UnexpectedEof, "less came than was said").into());
    }
    file.sync_all().await?;
    Ok(received)
}
