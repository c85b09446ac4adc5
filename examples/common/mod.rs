//! What the example programs share: the options of the echo servers, and their page.
#![allow(dead_code, reason = "each program uses a part of it")]

#[cfg(feature = "tls")]
pub mod tls;

use std::process::exit;
use std::time::Duration;

use bowline::handshake::{Request, Response};
use bowline::{Budget, Config, Deflate};
use lexopt::prelude::*;

/// Prints the text and ends, for `--help`.
pub fn help(text: &str) -> ! {
    println!("{}", text.trim());
    exit(0);
}

/// Ends with a message on stderr: status 2 for wrong usage, 1 for all else.
pub fn fail(program: &str, status: i32, error: impl std::fmt::Display) -> ! {
    eprintln!("{program}: {error}");
    exit(status);
}

/// What both echo servers are told on the command line.
pub struct Options {
    pub listen: String,
    pub subprotocols: Vec<String>,
    pub config: Config,
}

impl Options {
    pub fn parse(program: &str) -> Self {
        match Self::try_parse(program) {
            Ok(options) => options,
            Err(error) => fail(program, 2, format_args!("{error}; see --help")),
        }
    }

    fn try_parse(program: &str) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            listen: "127.0.0.1:9001".into(),
            subprotocols: Vec::new(),
            config: Config::default(),
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("listen") => options.listen = arguments.value()?.parse()?,
                Long("any-origin") => options.config = options.config.allow_any_origin(),
                Long("deflate") => options.config = options.config.deflate(Deflate::default()),
                Long("subprotocol") => options.subprotocols.push(arguments.value()?.parse()?),
                Long("max-message-size") => {
                    let bytes = arguments.value()?.parse()?;
                    options.config = options.config.max_message_size(bytes);
                }
                Long("memory-budget") => {
                    let mib: usize = arguments.value()?.parse()?;
                    let budget = Budget::new(mib.saturating_mul(1 << 20));
                    options.config = options.config.memory_budget(&budget);
                }
                Long("keepalive") => {
                    let interval = Duration::from_secs(arguments.value()?.parse()?);
                    options.config = options.config.ping_interval(interval).pong_timeout(interval);
                }
                Short('h') | Long("help") => help(&format!(
                    "\
{program}: a WebSocket server that sends every message back

Usage: {program} [OPTIONS]

It serves a page to try it with on GET /. Ctrl-C ends it, with Close 1001 to all.

Options:
  --listen ADDR             where to listen; port 0 picks one [default: 127.0.0.1:9001]
  --any-origin              let pages of any origin connect, not only its own
  --deflate                 permessage-deflate, if the other side agrees
  --subprotocol NAME        select this subprotocol if it is offered (repeatable)
  --max-message-size BYTES  the largest message to accept [default: 1048576]
  --memory-budget MIB       what all connections may hold together [default: no bound]
  --keepalive SECONDS       ping who is silent for so long, and drop who does not answer in as long
  -h, --help                print this"
                )),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }
}

/// The answer to a request that asks for no WebSocket.
pub fn page(request: &Request) -> Response {
    page_at(request.method(), request.path())
}

pub fn page_at(method: &str, path: &str) -> Response {
    let html = "text/html; charset=utf-8";
    let (status, kind, body) = match (method, path) {
        ("GET", "/") => (200, html, include_str!("page.html")),
        ("GET", _) => (404, "text/plain", "Not here. The page is at /\n"),
        _ => (405, "text/plain", "Only GET is served here.\n"),
    };
    let mut response = Response::new(status).body(body);
    for (name, value) in [("Content-Type", kind), ("Allow", "GET")] {
        if name != "Allow" || status == 405 {
            response = response.header(name, value).expect("both are valid headers");
        }
    }
    response
}
