//! The command line.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::exit;
use std::time::Duration;

use axum::http::HeaderValue;
use fred::types::config::Config as RedisServer;
use lexopt::prelude::*;

const CLIENT_JS: &str = "node_modules/socket.io-client/dist/socket.io.min.js";

const HELP: &str = "\
socketio: a chat over Socket.IO, with a page for the browser

Usage: socketio [OPTIONS]

The page is on GET /. Ctrl-C ends it; the clients connect again when it is back.

Options:
  --listen ADDR           where to listen; port 0 picks one [default: 127.0.0.1:9001]
  --path PATH             the path of Socket.IO [default: /socket.io/]
  --client-js FILE        the browser's socket.io-client, from npm
                          [default: node_modules/socket.io-client/dist/socket.io.min.js]
  --token TOKEN           refuse clients that do not send this token
  --allow-origin ORIGIN   let pages of this origin connect as well, not only its own (repeatable)
  --ping-interval SECONDS how often to ask whether a client is there [default: 25]
  --ping-timeout SECONDS  how long a client may take to answer [default: 20]
  --max-payload BYTES     the largest body of a polling request [default: 4194304]
  --cookie NAME           set this cookie to the session's id, so that a balancer can keep a polling client on one node
  --redis URL             be one node of many, which meet at this Redis 7 or later: redis://HOST:PORT
  -h, --help              print this";

pub struct Options {
    pub listen: String,
    pub path: String,
    pub token: Option<String>,
    pub origins: Vec<HeaderValue>,
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    pub max_payload: u64,
    pub cookie: Option<String>,
    pub redis: Option<RedisServer>,
    client_js: PathBuf,
}

impl Options {
    pub fn parse(mut arguments: lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next()? {
            let Long(name) = argument else {
                if argument == Short('h') {
                    help();
                }
                return Err(argument.unexpected());
            };
            let name = name.to_owned();
            if name == "help" {
                help();
            }
            options.set(&name, &mut arguments)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, arguments: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        match name {
            "listen" => self.listen = arguments.value()?.string()?,
            "path" => self.path = convert(name, arguments, path)?,
            "client-js" => self.client_js = arguments.value()?.into(),
            "token" => self.token = Some(convert(name, arguments, not_empty)?),
            "allow-origin" => self.origins.push(convert(name, arguments, origin)?),
            "ping-interval" => self.ping_interval = convert(name, arguments, seconds)?,
            "ping-timeout" => self.ping_timeout = convert(name, arguments, seconds)?,
            "max-payload" => self.max_payload = convert(name, arguments, bytes)?,
            "cookie" => self.cookie = Some(convert(name, arguments, cookie)?),
            "redis" => self.redis = Some(convert(name, arguments, redis)?),
            _ => return Err(Long(name).unexpected()),
        }
        Ok(())
    }

    /// The client for the page. It is read once, so that a wrong path is known at the start.
    pub fn read_client_js(&self) -> Result<Vec<u8>, String> {
        let file = self.client_js.display();
        std::fs::read(&self.client_js).map_err(|error| {
            format!("{file}: {error}; run `npm install socket.io-client`, or say --client-js FILE")
        })
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9001".into(),
            path: "/socket.io".into(),
            client_js: CLIENT_JS.into(),
            token: None,
            origins: Vec::new(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 4 << 20,
            cookie: None,
            redis: None,
        }
    }
}

fn help() -> ! {
    println!("{HELP}");
    exit(0);
}

/// The option's value, as this function converts it. The error names the option.
fn convert<T, E: Display>(
    name: &str,
    arguments: &mut lexopt::Parser,
    convert: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, lexopt::Error> {
    let value = arguments.value()?.string()?;
    Ok(convert(&value).map_err(|error| format!("--{name} {value:?}: {error}"))?)
}

/// Without the slash at the end, as socketioxide takes it.
fn path(text: &str) -> Result<String, &'static str> {
    let path = text.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if path.starts_with('/') && path.bytes().all(plain) {
        Ok(path.into())
    } else {
        Err("expected a path such as /socket.io/")
    }
}

fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("expected a text that is not empty") } else { Ok(text.into()) }
}

/// As browsers send it: a scheme, a host and perhaps a port, without a path.
fn origin(text: &str) -> Result<HeaderValue, &'static str> {
    let wrong = "expected an origin such as https://example.com, without a path";
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', '*', ' ']) => {
            text.parse().map_err(|_| wrong)
        }
        _ => Err(wrong),
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let wrong = "expected a number of seconds above zero";
    let duration = Duration::try_from_secs_f64(text.parse().map_err(|_| wrong)?);
    match duration {
        // The client gets milliseconds.
        Ok(duration) if duration.as_millis() > 0 => Ok(duration),
        _ => Err(wrong),
    }
}

fn bytes(text: &str) -> Result<u64, &'static str> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number of bytes above zero"),
        Ok(bytes) => Ok(bytes),
    }
}

fn cookie(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        Ok(text.into())
    } else {
        Err("expected letters, digits, - and _")
    }
}

fn redis(text: &str) -> Result<RedisServer, String> {
    if !text.starts_with("redis://") {
        return Err("expected redis://HOST:PORT".into());
    }
    RedisServer::from_url(text).map_err(|error| error.to_string())
}
