//! Runs the cases of an Autobahn fuzzing server as a client, over either adapter.

mod common;

use bowline::handshake::ClientRequest;
use bowline::{Config, Deflate, Error};
use common::{fail, help};
use lexopt::prelude::*;

const PROGRAM: &str = "autobahn_client";
const HELP: &str = "
autobahn_client: runs the cases of an Autobahn fuzzing server

Usage: autobahn_client --adapter blocking|tokio --url URL [OPTIONS]

Options:
  --adapter NAME            which adapter to test: blocking or tokio
  --url URL                 the fuzzing server, such as ws://127.0.0.1:9001
  --agent NAME              the name in the report [default: bowline-ADAPTER]
  --deflate                 permessage-deflate, if the other side agrees
  --max-message-size BYTES  the largest message to accept [default: 67108864]
  -h, --help                print this
";

struct Options {
    blocking: bool,
    url: String,
    agent: String,
    config: Config,
}

fn parse() -> Result<Options, lexopt::Error> {
    let (mut adapter, mut url, mut agent) = (None, None, None);
    let mut config = Config::default().max_message_size(64 << 20);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("adapter") => adapter = Some(arguments.value()?.string()?),
            Long("url") => url = Some(arguments.value()?.string()?),
            Long("agent") => agent = Some(arguments.value()?.string()?),
            // Some cases answer with a window of 15 bits, which is refused where less was offered.
            Long("deflate") => config = config.deflate(Deflate::high_compression()),
            Long("max-message-size") => {
                config = config.max_message_size(arguments.value()?.parse()?);
            }
            Short('h') | Long("help") => help(HELP),
            _ => return Err(argument.unexpected()),
        }
    }
    let adapter = adapter.ok_or("--adapter is missing")?;
    let blocking = match &*adapter {
        "blocking" => true,
        "tokio" => false,
        _ => return Err("--adapter is neither blocking nor tokio".into()),
    };
    let url: String = url.ok_or("--url is missing")?;
    Ok(Options {
        blocking,
        url: url.trim_end_matches('/').into(),
        agent: agent.unwrap_or_else(|| format!("bowline-{adapter}")),
        config,
    })
}

fn main() {
    let options = match parse() {
        Ok(options) => options,
        Err(error) => fail(PROGRAM, 2, format_args!("{error}; see --help")),
    };
    let result = if options.blocking {
        run_blocking(&options)
    } else {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Io)
            .and_then(|runtime| runtime.block_on(run_tokio(&options)))
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

fn run_blocking(options: &Options) -> Result<(), Error> {
    use bowline::blocking::connect_with;
    let connect = |request| Ok::<_, Error>(connect_with(&request, options.config.clone())?.0);

    let cases = count(connect(options.request("/getCaseCount")?)?.recv()?)?;
    for number in 1..=cases {
        // How a case ends is the fuzzing server's to judge, and the next one is run in any case.
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
    use bowline::tokio::{WebSocket, connect_with};
    let connect = async |request| -> Result<WebSocket<_>, Error> {
        Ok(connect_with(&request, options.config.clone()).await?.0)
    };

    let cases = count(connect(options.request("/getCaseCount")?).await?.recv().await?)?;
    for number in 1..=cases {
        let mut ws = match connect(options.case(number)?).await {
            Ok(ws) => ws,
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
    let mut ws = connect(options.report()?).await?;
    while ws.recv().await?.is_some() {}
    println!("{cases} cases were run");
    Ok(())
}
