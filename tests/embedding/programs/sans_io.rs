use std::error::Error;
use std::io::{Read, Write};

use bowline::handshake::{Accept, RequestError, ServerHandshake};
use bowline::{Config, Connection, Progress, RecvBuf, SendBuf};

pub fn echo(mut socket: impl Read + Write) -> Result<(), Box<dyn Error>> {
    let (mut input, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut connection = match open(&mut socket, &mut input, &mut out)? {
        Ok(connection) => connection,
        Err(refusal) => {
            refusal.response().encode(&mut out);
            return Ok(socket.write_all(out.pending())?);
        }
    };
    loop {
        match connection.advance(&mut input, &mut out) {
            Ok(Progress::Event) => connection.send(input.event().unwrap(), &mut out)?,
            Ok(Progress::NeedInput) => {
                while connection.answer(&mut out) {
                    let n = socket.write(out.pending())?;
                    out.sent(n);
                }
                read(&mut socket, &mut input)?;
            }
            Ok(Progress::Ended) | Err(_) => return Ok(socket.write_all(out.pending())?),
        }
    }
}

fn open(
    socket: &mut impl Read,
    input: &mut RecvBuf,
    out: &mut SendBuf,
) -> Result<Result<Connection, RequestError>, Box<dyn Error>> {
    let config = Config::default();
    let mut handshake = ServerHandshake::new(config.clone());
    let request = loop {
        match handshake.read(input) {
            Ok(Some(request)) => break request,
            Ok(None) => read(socket, input)?,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
    match request.upgrade(&config) {
        Ok(upgrade) => {
            let (connection, response) = upgrade.accept(Accept::new())?;
            response.encode(out);
            Ok(Ok(connection))
        }
        Err(refusal) => Ok(Err(refusal)),
    }
}

fn read(socket: &mut impl Read, input: &mut RecvBuf) -> std::io::Result<()> {
    match socket.read(input.space())? {
        0 => input.eof(),
        n => input.filled(n),
    }
    Ok(())
}
