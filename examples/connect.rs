//! Talks to a WebSocket server from the command line: lines become messages, messages become lines.

mod common;
#[cfg(feature = "tls")]
#[path = "common/trust.rs"]
mod trust;

use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::exit;

use bowline::handshake::{ClientRequest, ConnectTo, InvalidRequest, Proxies, Proxy};
use bowline::{Config, Deflate, End, Error, Message, blocking};
use common::{Arguments, fail, help, wrong_usage};
use lexopt::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::runtime::Builder;

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
  --user-agent TEXT       send this User-Agent in place of bowline's own, or none if it is empty
  --bearer TOKEN          send this token as Authorization
  --basic USER:PASSWORD   send these as Authorization
  --deflate               permessage-deflate, if the other side agrees
  --proxy URL             connect through this http, https, socks5, socks5h or socks4a proxy; `env` means the
                          proxy that the environment names, as for curl
  --no-proxy LIST         reach these hosts without the proxy, as in `localhost,.example.com,10.0.0.0/8`
  --redirects N           follow at most N redirects [default: 0]
  --unix PATH             connect to this Unix socket in place of the URL's host
  --resolve ADDRESS:PORT  connect to this address in place of the host's (repeatable)
  --local-address IP      connect from this address
  --timeout SECONDS       how long connecting may take [default: 10]
  --ca FILE               trust the certificates in this PEM file alone, also for an https proxy
  --insecure-accept-any-certificate
                          do not check the server's certificate: anybody can read and change what is sent
  --blocking              use the blocking adapter, and threads
  -h, --help              print this
";

/// What the command line says.
#[derive(Default)]
struct Options {
    url: Option<String>,
    headers: Vec<String>,
    subprotocols: Vec<String>,
    origin: Option<String>,
    user_agent: Option<String>,
    bearer: Option<String>,
    basic: Option<String>,
    deflate: bool,
    proxy: Option<String>,
    no_proxy: Option<String>,
    redirects: u32,
    unix: Option<String>,
    addresses: Vec<SocketAddr>,
    local_address: Option<IpAddr>,
    trust: Trust,
    blocking: bool,
    config: Config,
}

/// Which certificates are trusted. Without either, those of the platform.
#[derive(Default)]
struct Trust {
    ca: Option<PathBuf>,
    anything: bool,
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut options = Options::default();
    let mut arguments = Arguments::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("header") => options.headers.push(arguments.text()?),
            Long("subprotocol") => options.subprotocols.push(arguments.subprotocol()?),
            Long("origin") => options.origin = Some(arguments.text()?),
            Long("user-agent") => options.user_agent = Some(arguments.text()?),
            Long("bearer") => options.bearer = Some(arguments.text()?),
            Long("basic") => options.basic = Some(arguments.text()?),
            Long("deflate") => options.deflate = true,
            Long("proxy") => options.proxy = Some(arguments.text()?),
            Long("no-proxy") => options.no_proxy = Some(arguments.text()?),
            Long("redirects") => options.redirects = arguments.number()?,
            Long("unix") => options.unix = Some(arguments.text()?),
            Long("resolve") => options.addresses.push(arguments.number()?),
            Long("local-address") => options.local_address = Some(arguments.number()?),
            Long("timeout") => {
                options.config = options.config.handshake_timeout(arguments.seconds()?);
            }
            Long("ca") => options.trust.ca = Some(arguments.path()?),
            Long("insecure-accept-any-certificate") => options.trust.anything = true,
            Long("blocking") => options.blocking = true,
            Short('h') | Long("help") => help(HELP),
            Value(value) if options.url.is_none() => options.url = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    if options.deflate {
        options.config = options.config.deflate(Deflate::default());
    }
    Ok(options)
}

/// Puts the option before what is wrong with its value.
fn of(option: &'static str) -> impl Fn(InvalidRequest) -> lexopt::Error {
    move |error| format!("{option}: {error}").into()
}

fn request(options: &Options) -> Result<ClientRequest, lexopt::Error> {
    let url = options.url.as_deref().ok_or("no URL")?;
    let mut request = ClientRequest::new(url).map_err(|error| error.to_string())?;
    for header in &options.headers {
        let (name, value) =
            header.split_once(':').ok_or_else(|| format!("--header {header:?} has no colon"))?;
        request.try_header(name.trim(), value.trim()).map_err(of("--header"))?;
    }
    for name in &options.subprotocols {
        request = request.subprotocol(name).map_err(of("--subprotocol"))?;
    }
    if let Some(origin) = &options.origin {
        request = request.origin(origin).map_err(of("--origin"))?;
    }
    if let Some(text) = &options.user_agent {
        let text = Some(&text[..]).filter(|text| !text.is_empty());
        request = request.user_agent(text).map_err(of("--user-agent"))?;
    }
    if let Some(token) = &options.bearer {
        request = request.bearer(token).map_err(of("--bearer"))?;
    }
    if let Some(credentials) = &options.basic {
        let (user, password) = credentials.split_once(':').ok_or("--basic has no colon")?;
        request = request.basic(user, password).map_err(of("--basic"))?;
    }
    if let Some(proxies) = proxies(options)? {
        request = request.proxy(proxies);
    }
    if let Some(path) = &options.unix {
        request = request.connect_to(ConnectTo::unix(path));
    } else if !options.addresses.is_empty() {
        request = request.connect_to(&options.addresses[..]);
    }
    if let Some(address) = options.local_address {
        request = request.local_address(address);
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = trust::config(&options.trust)? {
        request = request.tls_config(tls);
    }
    #[cfg(not(feature = "tls"))]
    if options.trust.ca.is_some() || options.trust.anything {
        return Err("options for certificates need the feature `tls`".into());
    }
    Ok(request.redirects(options.redirects))
}

fn proxies(options: &Options) -> Result<Option<Proxies>, lexopt::Error> {
    let proxies = match options.proxy.as_deref() {
        None => return Ok(None),
        Some("env") => Proxies::from_env(),
        Some(url) => {
            #[cfg_attr(not(feature = "tls"), allow(unused_mut))]
            let mut proxy = Proxy::new(url).map_err(of("--proxy"))?;
            #[cfg(feature = "tls")]
            if let Some(tls) = trust::config(&options.trust)? {
                proxy = proxy.tls_config(tls);
            }
            proxy.into()
        }
    };
    Ok(Some(match &options.no_proxy {
        Some(list) => proxies.no_proxy(list),
        None => proxies,
    }))
}

fn main() {
    let parsed = parse().and_then(|options| Ok((request(&options)?, options)));
    let (request, options) = parsed.unwrap_or_else(|error| wrong_usage(PROGRAM, error));
    let result = if options.blocking {
        run_blocking(&request, options.config)
    } else {
        run_on_tokio(&request, options.config)
    };
    match result {
        // Without waiting for a thread that reads from standard input.
        Ok(()) => exit(0),
        Err(error) => fail(PROGRAM, 1, format_args!("{}: {error}", request.host())),
    }
}

fn run_on_tokio(request: &ClientRequest, config: Config) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(talk(request, config));
    // A thread may still read from standard input, and nothing can interrupt it.
    runtime.shutdown_background();
    result
}

async fn talk(request: &ClientRequest, config: Config) -> Result<(), Error> {
    let (mut ws, response) = bowline::tokio::connect_with(request, config).await?;
    opened(response.subprotocol());
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
    ended(ws.end())
}

/// The same with a thread for each direction.
fn run_blocking(request: &ClientRequest, config: Config) -> Result<(), Error> {
    let (ws, response) = blocking::connect_with(request, config)?;
    opened(response.subprotocol());
    let (mut sender, mut receiver) = ws.split()?;
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            sender.send(line?)?;
        }
        sender.close(1000, "")
    });
    while let Some(message) = receiver.recv()? {
        print(&message)?;
    }
    ended(receiver.end())
}

fn opened(subprotocol: Option<&str>) {
    if let Some(name) = subprotocol {
        eprintln!("connected, subprotocol {name}");
    }
}

/// `recv` gives `None` after any Close. If the peer closed with an error code, this program fails.
fn ended(end: Option<&End>) -> Result<(), Error> {
    end.map_or(Ok(()), End::result)?;
    if let Some(end) = end {
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
