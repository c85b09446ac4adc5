//! Talks to a WebSocket server from the command line: lines become messages, messages become lines.

mod common;

use std::io::Write;
use std::process::exit;

use bowline::handshake::{ClientRequest, ConnectError};
use bowline::{Config, Deflate, End, Error, Message};
use common::{Arguments, fail, help, wrong_usage};
use lexopt::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

const PROGRAM: &str = "connect";
const HELP: &str = "
connect: sends lines to a WebSocket server and prints what it answers

Usage: connect [OPTIONS] URL

Each line of standard input is sent as a text message, each message that comes is printed as a line
(binary ones in hexadecimal). At the end of the input the connection is closed.

Options:
  --header 'NAME: VALUE'  send this header with the request (repeatable)
  --subprotocol NAME      offer this subprotocol (repeatable)
  --origin ORIGIN         send this Origin, as a browser's page would
  --deflate               permessage-deflate, if the other side agrees
  -h, --help              print this
";

fn parse() -> Result<(ClientRequest, Config), lexopt::Error> {
    let (mut url, mut config) = (None, Config::default());
    let (mut headers, mut subprotocols, mut origin) = (Vec::new(), Vec::new(), None);
    let mut arguments = Arguments::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("header") => headers.push(arguments.text()?),
            Long("subprotocol") => subprotocols.push(arguments.subprotocol()?),
            Long("origin") => origin = Some(arguments.text()?),
            Long("deflate") => config = config.deflate(Deflate::default()),
            Short('h') | Long("help") => help(HELP),
            Value(value) if url.is_none() => url = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let url: String = url.ok_or("no URL")?;
    let mut request = ClientRequest::new(&url).map_err(|error| error.to_string())?;
    for header in headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("--header {header:?} has no colon"))?;
        request = request
            .header(name.trim(), value.trim())
            .map_err(|error| format!("--header {header:?}: {error}"))?;
    }
    for name in subprotocols {
        request = request
            .subprotocol(&name)
            .map_err(|error| format!("--subprotocol {name:?}: {error}"))?;
    }
    if let Some(origin) = origin {
        request =
            request.origin(&origin).map_err(|error| format!("--origin {origin:?}: {error}"))?;
    }
    Ok((request, config))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (request, config) = parse().unwrap_or_else(|error| wrong_usage(PROGRAM, error));
    match run(&request, config).await {
        // A thread that cannot be interrupted may still read from standard input.
        Ok(()) => exit(0),
        Err(Error::Connect(ConnectError::Refused(response))) => {
            let status = response.status();
            let body = String::from_utf8_lossy(response.body_bytes());
            fail(PROGRAM, 1, format_args!("refused with status {status}: {}", body.trim()));
        }
        Err(error) => fail(PROGRAM, 1, format_args!("{}: {error}", request.host())),
    }
}

async fn run(request: &ClientRequest, config: Config) -> Result<(), Error> {
    let (mut ws, response) = bowline::tokio::connect_with(request, config).await?;
    if let Some(name) = response.subprotocol() {
        eprintln!("connected, subprotocol {name}");
    }
    let mut lines = BufReader::new(stdin()).lines();
    let mut open = true;
    loop {
        tokio::select! {
            message = ws.recv() => match message? {
                Some(message) => print(&message)?,
                None => break,
            },
            line = lines.next_line(), if open => match line? {
                Some(line) => ws.send(line).await?,
                None => {
                    open = false;
                    ws.start_close(1000, "").await?;
                }
            },
        }
    }
    // `recv` gives `None` after any Close. If the peer closed with an error code, this program fails.
    ws.end().map_or(Ok(()), End::result)?;
    if let Some(end) = ws.end() {
        eprintln!("{end}");
    }
    Ok(())
}

fn print(message: &Message) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match message {
        Message::Text(text) => writeln!(out, "{text}")?,
        other => {
            for byte in other.as_bytes() {
                write!(out, "{byte:02x}")?;
            }
            writeln!(out)?;
        }
    }
    out.flush()
}
