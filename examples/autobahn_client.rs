//! Runs the cases of an Autobahn fuzzing server as a client, over each adapter.

mod common;

use bowline::handshake::ClientRequest;
use bowline::{Config, Deflate, Error};
use common::{Arguments, fail, help, wrong_usage};
use lexopt::prelude::*;

const PROGRAM: &str = "autobahn_client";
const HELP: &str = "
autobahn_client: runs the cases of an Autobahn fuzzing server

Usage: autobahn_client --adapter blocking|tokio|futures --url URL [OPTIONS]

Options:
  --adapter NAME            which adapter to test: blocking, tokio or futures (on smol)
  --url URL                 the fuzzing server, such as ws://127.0.0.1:9001
  --agent NAME              the name in the report [default: bowline-ADAPTER]
  --deflate                 permessage-deflate, if the other side agrees
  --max-message-size BYTES  the largest message to accept [default: 67108864]
  -h, --help                print this
";

#[derive(Clone, Copy)]
enum Adapter {
    Blocking,
    Tokio,
    Futures,
}

struct Options {
    adapter: Adapter,
    url: String,
    agent: String,
    config: Config,
}

fn parse() -> Result<Options, lexopt::Error> {
    let (mut adapter, mut url, mut agent) = (None, None, None);
    let mut config = Config::default().max_message_size(64 << 20);
    let mut arguments = Arguments::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("adapter") => {
                let known = |name: &str| match name {
                    "blocking" => Ok((Adapter::Blocking, name.to_owned())),
                    "tokio" => Ok((Adapter::Tokio, name.to_owned())),
                    "futures" => Ok((Adapter::Futures, name.to_owned())),
                    _ => Err("expected blocking, tokio or futures"),
                };
                adapter = Some(arguments.convert(known)?);
            }
            Long("url") => url = Some(arguments.text()?),
            Long("agent") => agent = Some(arguments.text()?),
            // Some cases answer with a window of 15 bits, which is refused if a smaller one was offered.
            Long("deflate") => config = config.deflate(Deflate::high_compression()),
            Long("max-message-size") => config = config.max_message_size(arguments.number()?),
            Short('h') | Long("help") => help(HELP),
            _ => return Err(argument.unexpected()),
        }
    }
    let (adapter, name) = adapter.ok_or("--adapter is missing")?;
    let url: String = url.ok_or("--url is missing")?;
    Ok(Options {
        adapter,
        url: url.trim_end_matches('/').into(),
        agent: agent.unwrap_or_else(|| format!("bowline-{name}")),
        config,
    })
}

fn main() {
    let options = parse().unwrap_or_else(|error| wrong_usage(PROGRAM, error));
    let result = match options.adapter {
        Adapter::Blocking => run_blocking(&options),
        Adapter::Tokio => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Io)
            .and_then(|runtime| runtime.block_on(run_tokio(&options))),
        Adapter::Futures => smol::block_on(run_futures(&options)),
    };
    if let Err(error) = result {
        fail(PROGRAM, 1, error);
    }
}

impl Options {
    fn request(&self, path: &str) -> Result<ClientRequest, Error> {
        Ok(ClientRequest::new(&format!("{}{path}", self.url))?)
    }

    fn case(&self, number: usize) -> Result<ClientRequest, Error> {
        self.request(&format!("/runCase?case={number}&agent={}", self.agent))
    }

    fn report(&self) -> Result<ClientRequest, Error> {
        self.request(&format!("/updateReports?agent={}", self.agent))
    }
}

fn count(message: Option<bowline::Message>) -> Result<usize, Error> {
    message
        .and_then(|message| message.as_text()?.parse().ok())
        .ok_or_else(|| Error::Io(std::io::Error::other("the fuzzing server gave no case count")))
}

/// The asynchronous adapters have the same methods.
macro_rules! run_async {
    ($connect:expr, $options:expr) => {{
        let (connect, options) = ($connect, $options);
        let (mut ws, _) = connect(options.request("/getCaseCount")?).await?;
        let cases = count(ws.recv().await?)?;
        for number in 1..=cases {
            let mut ws = match connect(options.case(number)?).await {
                Ok((ws, _)) => ws,
                Err(error) => {
                    eprintln!("{PROGRAM}: case {number}: {error}");
                    continue;
                }
            };
            while let Ok(Some(message)) = ws.recv().await {
                if ws.feed(message).await.is_err() {
                    break;
                }
            }
        }
        let (mut ws, _) = connect(options.report()?).await?;
        while ws.recv().await?.is_some() {}
        println!("{cases} cases were run");
        Ok(())
    }};
}

fn run_blocking(options: &Options) -> Result<(), Error> {
    use bowline::blocking::connect_with;
    let connect = |request| Ok::<_, Error>(connect_with(&request, options.config.clone())?.0);

    let cases = count(connect(options.request("/getCaseCount")?)?.recv()?)?;
    for number in 1..=cases {
        // The fuzzing server judges how a case ends. The next one runs in any case.
        let mut ws = match connect(options.case(number)?) {
            Ok(ws) => ws,
            Err(error) => {
                eprintln!("{PROGRAM}: case {number}: {error}");
                continue;
            }
        };
        while let Ok(Some(message)) = ws.recv() {
            if ws.feed(message).is_err() {
                break;
            }
        }
    }
    while connect(options.report()?)?.recv()?.is_some() {}
    println!("{cases} cases were run");
    Ok(())
}

async fn run_tokio(options: &Options) -> Result<(), Error> {
    run_async!(
        async |request| bowline::tokio::connect_with(&request, options.config.clone()).await,
        options
    )
}

async fn run_futures(options: &Options) -> Result<(), Error> {
    let connect = async |request: ClientRequest| {
        let socket = smol::net::TcpStream::connect((request.host(), request.port())).await?;
        socket.set_nodelay(true)?;
        bowline::futures::client(socket, &request, options.config.clone()).await
    };
    run_async!(connect, options)
}
