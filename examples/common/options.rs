//! The command line: arguments whose errors name their option, and the options that the echo servers share.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::exit;
use std::str::FromStr;
use std::time::Duration;

use bowline::{Budget, Config, Deflate};
use lexopt::prelude::*;

use super::Listen;

/// Prints the text and ends, for `--help`.
pub fn help(text: &str) -> ! {
    println!("{}", text.trim());
    exit(0);
}

/// Ends with a message on stderr. The status is 2 for wrong usage, and 1 for other errors.
pub fn fail(program: &str, status: i32, error: impl Display) -> ! {
    eprintln!("{program}: {error}");
    exit(status);
}

/// Ends with what is wrong with the command line.
pub fn wrong_usage(program: &str, error: impl Display) -> ! {
    fail(program, 2, format_args!("{error}; see --help"))
}

/// The arguments of the program. An error in a value names the option that it was given for.
pub struct Arguments {
    parser: lexopt::Parser,
    /// The option that was read last.
    option: String,
}

impl Arguments {
    pub fn from_env() -> Self {
        Self { parser: lexopt::Parser::from_env(), option: String::new() }
    }

    /// The next option or value.
    pub fn next(&mut self) -> Result<Option<lexopt::Arg<'_>>, lexopt::Error> {
        let argument = self.parser.next()?;
        if let Some(Long(name)) = &argument {
            self.option = format!("--{name}");
        }
        Ok(argument)
    }

    /// The option's value, as a path.
    pub fn path(&mut self) -> Result<PathBuf, lexopt::Error> {
        Ok(self.parser.value()?.into())
    }

    /// The option's value, any text.
    pub fn text(&mut self) -> Result<String, lexopt::Error> {
        self.convert(|text| Ok::<_, String>(text.into()))
    }

    /// The option's value, as a number.
    pub fn number<T: FromStr<Err: Display>>(&mut self) -> Result<T, lexopt::Error> {
        self.convert(str::parse)
    }

    /// The option's value, as a duration in seconds such as `30` or `0.5`. `None` is never, which the user writes as `none`.
    pub fn seconds(&mut self) -> Result<Option<Duration>, lexopt::Error> {
        self.convert(|text| {
            if text == "none" {
                return Ok(None);
            }
            let seconds = text.parse().map_err(|_| "expected a number of seconds, or none")?;
            Duration::try_from_secs_f64(seconds).map(Some).map_err(|error| error.to_string())
        })
    }

    /// The option's value, as the name of a subprotocol.
    pub fn subprotocol(&mut self) -> Result<String, lexopt::Error> {
        self.convert(|text| {
            if is_token(text) {
                Ok(text.into())
            } else {
                Err("expected one word without separators")
            }
        })
    }

    /// The option's value, as this function converts it.
    pub fn convert<T, E: Display>(
        &mut self,
        convert: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, lexopt::Error> {
        let value = self.parser.value()?;
        let name = &self.option;
        let text = value.to_str().ok_or_else(|| format!("{name} {value:?}: expected UTF-8"))?;
        Ok(convert(text).map_err(|error| format!("{name} {text:?}: {error}"))?)
    }
}

/// RFC 6455 §4.1, item 10: a subprotocol is a token (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let special = b"!#$%&'*+-.^_`|~";
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || special.contains(&byte))
}

/// The command line of an echo server.
pub struct Options {
    pub listen: Listen,
    pub subprotocols: Vec<String>,
    /// Where a server on TLS writes its certificate.
    pub certificate: Option<PathBuf>,
    /// Whether a server on TLS prints what each connection agreed on.
    pub verbose: bool,
    pub config: Config,
}

impl Options {
    /// The options of a server without TLS.
    pub fn parse(program: &str) -> Self {
        let about =
            "It serves a page to try it with on GET /. Ctrl-C ends it, with Close 1001 to all.";
        Self::try_parse(&usage(program, "a WebSocket server", about, ""), false)
            .unwrap_or_else(|error| wrong_usage(program, error))
    }

    /// The options of a server on TLS. `what` and `about` are for its help.
    pub fn parse_tls(program: &str, what: &str, about: &str) -> Self {
        let certificate = "
  --certificate FILE        write the certificate there
  --verbose                 print the version of TLS and the key exchange of each connection";
        Self::try_parse(&usage(program, what, about, certificate), true)
            .unwrap_or_else(|error| wrong_usage(program, error))
    }

    fn try_parse(usage: &str, tls: bool) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            listen: Listen::default(),
            subprotocols: Vec::new(),
            certificate: None,
            verbose: false,
            config: Config::default(),
        };
        let mut arguments = Arguments::from_env();
        while let Some(argument) = arguments.next()? {
            let config = options.config.clone();
            match argument {
                Long("listen") => options.listen = arguments.convert(Listen::parse)?,
                Long("certificate") if tls => options.certificate = Some(arguments.path()?),
                Long("verbose") if tls => options.verbose = true,
                Long("any-origin") => options.config = config.allow_any_origin(),
                Long("deflate") => options.config = config.deflate(Deflate::default()),
                Long("subprotocol") => options.subprotocols.push(arguments.subprotocol()?),
                Long("max-message-size") => {
                    options.config = config.max_message_size(arguments.number()?);
                }
                Long("memory-budget") => {
                    let bytes = arguments.number::<usize>()?.saturating_mul(1 << 20);
                    options.config = config.memory_budget(&Budget::new(bytes));
                }
                Long("keepalive") => {
                    let interval = arguments.seconds()?;
                    options.config = config.ping_interval(interval);
                    if let Some(interval) = interval {
                        options.config = options.config.pong_timeout(interval);
                    }
                }
                Short('h') | Long("help") => help(usage),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }
}

fn usage(program: &str, what: &str, about: &str, certificate: &str) -> String {
    format!(
        "\
{program}: {what} that sends every message back

Usage: {program} [OPTIONS]

{about}

Options:
  --listen ADDR             where to listen; port 0 picks one, unix:PATH is a Unix socket [default: 127.0.0.1:9001]{certificate}
  --any-origin              let pages of any origin connect, not only its own
  --deflate                 permessage-deflate, if the other side agrees
  --subprotocol NAME        select this subprotocol if it is offered (repeatable)
  --max-message-size BYTES  the largest message to accept [default: 1048576]
  --memory-budget MIB       what all connections may hold together [default: no bound]
  --keepalive SECONDS       ping a peer that is silent for this long, and drop it if it does not answer in as long
                            [default: none, which pings nobody]
  -h, --help                print this"
    )
}
