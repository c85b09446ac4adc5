//! What the servers of the examples share: options that each has, limits, and serving until Ctrl-C.

use std::ffi::OsString;
use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;
use std::process::exit;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use bowline::tokio::Group;
use bowline::{Config, RateLimit};
use lexopt::prelude::*;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The part of `--help` that is the same for all.
pub const HELP: &str =
    "  --listen ADDR          where to listen; port 0 picks one [default: 127.0.0.1:9001]
  --allow-origin ORIGIN  let pages of this origin connect as well, not only its own (repeatable)
  --max-connections N    clients beyond that get status 503 [default: 1000]
  --ping-every SECONDS   ping a client after this much silence [default: 30]
  --pong-within SECONDS  close a client that does not answer the ping in this time [default: 20]
  -h, --help             print this";

/// How long clients and handlers may take to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);

/// Waits until this is true: the server ends. Ready at once if it ended before.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stop| stop).await;
}

/// The name of a program, and what it listens to and allows.
pub struct Server {
    name: &'static str,
    /// Where to listen.
    pub listen: String,
    /// Limits and timeouts of each connection.
    pub config: Config,
    /// All connections. `Ctrl-C` closes them.
    pub group: Group,
}

impl Server {
    /// The defaults: messages of at most 64 KiB, 50 of them a second, and keepalive. Pages of other origins are refused.
    pub fn new(name: &'static str) -> Self {
        // A client that sends faster has to wait: nothing is read from it.
        let rate = RateLimit::new().messages(50).burst(Duration::from_secs(4));
        let config = Config::default()
            .max_message_size(64 << 10)
            .max_send_queue(256 << 10)
            .rate_limit(rate)
            // Proxies end silent connections, and a peer that is gone has to leave its topics.
            .ping_interval(Duration::from_secs(30));
        // An error ends only its own connection. Errors of the network happen every day.
        let group = Group::new().max_connections(1000).on_end(move |ended| {
            if let Err(error) = &ended.result {
                eprintln!("{name}: {error}");
            }
        });
        Self { name, listen: "127.0.0.1:9001".into(), config, group }
    }

    /// Reads the command line: the options of [`HELP`], and those that `own` takes. `own` gets the name of an option, and the parser
    /// for its value, and gives false for a name that it does not know. A wrong option ends the program, and so does `--help`.
    pub fn parse<F>(&mut self, help: &str, own: F)
    where
        F: FnMut(&str, &mut lexopt::Parser) -> Result<bool, lexopt::Error>,
    {
        if let Err(error) = self.read(lexopt::Parser::from_env(), help, own) {
            self.fail(2, format_args!("{error}; see --help"));
        }
    }

    fn read<F>(
        &mut self,
        mut parser: lexopt::Parser,
        help: &str,
        mut own: F,
    ) -> Result<(), lexopt::Error>
    where
        F: FnMut(&str, &mut lexopt::Parser) -> Result<bool, lexopt::Error>,
    {
        while let Some(argument) = parser.next()? {
            let name = match argument {
                Short('h') | Long("help") => {
                    println!("{help}\n{HELP}");
                    exit(0);
                }
                Long(name) => name.to_owned(),
                _ => return Err(argument.unexpected()),
            };
            let config = self.config.clone();
            match &*name {
                "listen" => self.listen = parser.value()?.parse()?,
                "allow-origin" => {
                    let allowed = config.try_allow_origin(parser.value()?.string()?);
                    self.config = allowed.map_err(|error| format!("--allow-origin: {error}"))?;
                }
                "max-connections" => {
                    self.group = self.group.clone().max_connections(parser.value()?.parse()?);
                }
                "ping-every" => self.config = config.ping_interval(seconds(parser.value()?)?),
                "pong-within" => self.config = config.pong_timeout(seconds(parser.value()?)?),
                name if own(name, &mut parser)? => {}
                name => return Err(format!("invalid option '--{name}'").into()),
            }
        }
        Ok(())
    }

    /// Says why on standard error, and ends the program.
    pub fn fail(&self, status: i32, error: impl Display) -> ! {
        eprintln!("{}: {error}", self.name);
        exit(status);
    }

    /// Serves until Ctrl-C. Then it runs `goodbye`, and sends Close 1001 to all that are left.
    pub async fn run(self, router: Router, goodbye: impl Future<Output = ()>) {
        if let Err(error) = self.serve(router, goodbye).await {
            self.fail(1, format_args!("{}: {error}", self.listen));
        }
    }

    async fn serve(
        &self,
        router: Router,
        goodbye: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let listener = TcpListener::bind(&self.listen).await?;
        // The first poll installs the signal handler, before the server says that it listens.
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        if poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx))).await.is_ready() {
            return Ok(());
        }
        println!("listening on http://{}/", listener.local_addr()?);
        let name = self.name;
        let listener = listener.tap_io(move |socket| {
            if let Err(error) = socket.set_nodelay(true) {
                eprintln!("{name}: {error}");
            }
        });
        tokio::select! {
            result = axum::serve(listener, router) => result?,
            _ = interrupt => {}
        }
        goodbye.await;
        self.group.shutdown(GRACE).await;
        Ok(())
    }
}

/// A value in seconds, of an option: `30` or `0.5`.
///
/// # Errors
///
/// It is not a number, negative, or longer than a year.
pub fn seconds(value: OsString) -> Result<Duration, lexopt::Error> {
    const YEAR: f64 = 365.0 * 86400.0;
    let seconds: f64 = value.parse()?;
    if (0.0..=YEAR).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{seconds} is no time in seconds, from 0 to {YEAR}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Server, String> {
        let mut server = Server::new("test");
        let parser = lexopt::Parser::from_args(arguments);
        let own = |name: &str, parser: &mut lexopt::Parser| match name {
            "own" => parser.value()?.string().map(|value| value == "mine"),
            _ => Ok(false),
        };
        server.read(parser, "", own).map_err(|error| error.to_string())?;
        Ok(server)
    }

    #[test]
    fn options_of_all_and_of_one_are_read() {
        let server = read(&["--listen", "[::1]:0", "--own=mine", "--ping-every", "0.5"]);
        assert_eq!(server.expect("valid").listen, "[::1]:0");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, named) in [
            (&["--listne", "x"][..], "--listne"),
            (&["--allow-origin", "nonsense"], "--allow-origin"),
            (&["--ping-every", "-1"], "-1"),
            (&["--ping-every", "NaN"], "NaN"),
            (&["--max-connections", "many"], "many"),
            (&["--listen"], "--listen"),
            (&["file"], "file"),
        ] {
            match read(arguments) {
                Ok(_) => panic!("{arguments:?} passed"),
                Err(error) => assert!(error.contains(named), "{error}"),
            }
        }
    }
}
