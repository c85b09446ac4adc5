//! Stays connected to a WebSocket server, and says on standard error what it does for that.

mod common;

use std::ops::RangeInclusive;
use std::process::exit;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline::handshake::ClientRequest;
use bowline::{
    Config, Deflate, End, Error, Message, Nudge, Outbox, Reconnect, Stopped, Then, Waiting,
    blocking, tokio as ws,
};
use common::{Arguments, fail, help, wrong_usage};
use lexopt::prelude::*;
use tokio::sync::mpsc;

const PROGRAM: &str = "reconnect";
const HELP: &str = "
reconnect: stays connected to a WebSocket server and prints what it sends

Usage: reconnect [OPTIONS] URL

Each text message that comes is printed as a line. Each line of standard input is sent as a text message. While there is no
session, it waits, and ends the wait for the next one. If more lines wait than are kept, the oldest are dropped.

Standard error says when it waits, why, and what became of the lines.

Options:
  --send TEXT              send this at the start of each session, as one subscribes
  --token-file FILE        send what is in this file as a bearer token; it is read anew for each attempt
  --first-delay SECONDS    the ceiling of the first wait [default: 1]
  --spread SECONDS         the same after the server ended a session or refused [default: 12]
  --max-delay SECONDS      the largest ceiling [default: 30]
  --min-uptime SECONDS     shorter sessions count as failed attempts [default: 10]
  --max-session SECONDS    end sessions after this time, and begin the next [default: none]
  --keep N                 keep so many lines of input while there is no session [default: 1024]
  --max-attempts N         stop after so many failed attempts in a row [default: none]
  --back-off CODE[-CODE]   connect again after these close codes, such as 1000 (repeatable)
  --stop CODE[-CODE]       do not connect again after these close codes (repeatable)
  --ping-interval SECONDS  ping the server when it was silent for so long [default: none, which pings never]
  --pong-timeout SECONDS   the server is gone if it does not answer a ping in this time [default: 20]
  --deflate                permessage-deflate, if the other side agrees
  --blocking               use the blocking adapter
  -h, --help               print this
";

/// What the command line says.
#[derive(Default)]
struct Options {
    url: Option<String>,
    send: Option<String>,
    token_file: Option<String>,
    outbox: Outbox,
    blocking: bool,
    config: Config,
    policy: Reconnect,
}

fn parse() -> Result<Options, lexopt::Error> {
    let mut options = Options { outbox: Outbox::new().drop_oldest(), ..Options::default() };
    let mut arguments = Arguments::from_env();
    while let Some(argument) = arguments.next()? {
        let (policy, config) = (options.policy.clone(), options.config.clone());
        // `none` is as long as can be.
        let long = |time: Option<Duration>| time.unwrap_or(Duration::MAX);
        match argument {
            Long("send") => options.send = Some(arguments.text()?),
            Long("token-file") => options.token_file = Some(arguments.text()?),
            Long("first-delay") => options.policy = policy.first_delay(long(arguments.seconds()?)),
            Long("spread") => options.policy = policy.spread(long(arguments.seconds()?)),
            Long("max-delay") => options.policy = policy.max_delay(long(arguments.seconds()?)),
            Long("min-uptime") => options.policy = policy.min_uptime(long(arguments.seconds()?)),
            Long("max-session") => options.policy = policy.max_session(arguments.seconds()?),
            Long("max-attempts") => {
                options.policy = policy.max_attempts(arguments.number::<u32>()?)
            }
            Long("back-off") => {
                options.policy = policy.on_close(arguments.convert(codes)?, Then::BackOff);
            }
            Long("stop") => {
                options.policy = policy.on_close(arguments.convert(codes)?, Then::Stop);
            }
            Long("keep") => {
                options.outbox = options.outbox.max_messages(arguments.number::<usize>()?);
            }
            Long("ping-interval") => options.config = config.ping_interval(arguments.seconds()?),
            Long("pong-timeout") => options.config = config.pong_timeout(arguments.seconds()?),
            Long("deflate") => options.config = config.deflate(Deflate::default()),
            Long("blocking") => options.blocking = true,
            Short('h') | Long("help") => help(HELP),
            Value(value) if options.url.is_none() => options.url = Some(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(options)
}

/// One close code, or a range such as `4000-4099`.
fn codes(text: &str) -> Result<RangeInclusive<u16>, std::num::ParseIntError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok(first.parse()?..=last.parse()?)
}

/// The request of one attempt. The token may be another each time.
fn request(url: &str, token_file: Option<&str>) -> Result<ClientRequest, Error> {
    let request = ClientRequest::new(url)?;
    Ok(match token_file {
        Some(file) => request.bearer(std::fs::read_to_string(file)?.trim())?,
        None => request,
    })
}

fn main() {
    let options = parse().unwrap_or_else(|error| wrong_usage(PROGRAM, error));
    let Some(url) = options.url.clone() else {
        wrong_usage(PROGRAM, "a URL is missing");
    };
    if let Err(error) = ClientRequest::new(&url) {
        wrong_usage(PROGRAM, error);
    }
    let result = if options.blocking { run_blocking(options, url) } else { run(options, url) };
    match result {
        Ok(()) => exit(0),
        Err(stopped) => fail(PROGRAM, 1, stopped),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(options: Options, url: String) -> Result<(), Stopped> {
    let token_file = options.token_file;
    let request = move || {
        let request = request(&url, token_file.as_deref());
        async { request }
    };
    let mut sessions =
        ws::Reconnecting::new(options.policy, options.config, request).on_wait(waiting);
    let mut outbox = options.outbox;
    let (give, mut lines) = mpsc::channel(16);
    read_lines(sessions.nudge(), move |line| give.blocking_send(line).is_ok());
    loop {
        let next = loop {
            tokio::select! {
                next = sessions.next() => break next,
                Some(line) = lines.recv() => keep(&mut outbox, line),
            }
        };
        let Some(mut session) = or_left_over(next, &outbox)? else { return Ok(()) };
        connected(session.attempts(), session.downtime(), session.previous());
        if let Some(text) = &options.send
            && session.send(text.clone()).await.is_err()
        {
            continue;
        }
        let before = outbox.handed_over();
        let mut expired = std::pin::pin!(session.expired());
        while session.send_from(&mut outbox).await.is_ok() {
            tokio::select! {
                message = session.recv() => match message {
                    Ok(Some(message)) => print(&message),
                    // How it ended is told before the wait.
                    Ok(None) | Err(_) => break,
                },
                Some(line) = lines.recv() => keep(&mut outbox, line),
                () = &mut expired => {
                    let _ = session.close(1000, "").await;
                    break;
                }
            }
        }
        unknown(outbox.handed_over() - before);
    }
}

/// The same in a thread. Another one reads the lines and puts them into the outbox.
fn run_blocking(options: Options, url: String) -> Result<(), Stopped> {
    let token_file = options.token_file;
    let request = move || request(&url, token_file.as_deref());
    let mut sessions =
        blocking::Reconnecting::new(options.policy, options.config, request).on_wait(waiting);
    let outbox = Arc::new(Mutex::new(options.outbox));
    let lines = outbox.clone();
    read_lines(sessions.nudge(), move |line| {
        keep(&mut lines.lock().unwrap(), line);
        true
    });
    loop {
        let next = sessions.next();
        let Some(mut session) = or_left_over(next, &outbox.lock().unwrap())? else {
            return Ok(());
        };
        connected(session.attempts(), session.downtime(), session.previous());
        if let Some(text) = &options.send
            && session.send(text.clone()).is_err()
        {
            continue;
        }
        let before = outbox.lock().unwrap().handed_over();
        while session.send_from(&mut outbox.lock().unwrap()).is_ok() {
            let remaining = session.remaining().unwrap_or(Duration::MAX);
            // Then it looks for lines.
            match session.recv_timeout(remaining.min(Duration::from_millis(100))) {
                Ok(Some(message)) => print(&message),
                Err(Error::TimedOut) if !remaining.is_zero() => {}
                Err(Error::TimedOut) => {
                    let _ = session.close(1000, "");
                    break;
                }
                Ok(None) | Err(_) => break,
            }
        }
        unknown(outbox.lock().unwrap().handed_over() - before);
    }
}

/// Gives each line of standard input to `take`, until that wants no more. Each is a reason to try now.
fn read_lines(nudge: Nudge, mut take: impl FnMut(String) -> bool + Send + 'static) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if !take(line) {
                break;
            }
            nudge.nudge();
        }
    });
}

/// Keeps a line until there is a session.
fn keep(outbox: &mut Outbox, line: String) {
    match outbox.push(line) {
        Ok(dropped) if dropped.is_empty() => {}
        Ok(dropped) => eprintln!("dropped {} lines, the oldest", dropped.len()),
        Err(full) => eprintln!("{full}"),
    }
}

/// Says what is left over, if there is no other session.
fn or_left_over<S>(
    next: Result<Option<S>, Stopped>,
    outbox: &Outbox,
) -> Result<Option<S>, Stopped> {
    if !matches!(next, Ok(Some(_))) && !outbox.is_empty() {
        eprintln!("{} lines were not sent", outbox.len());
    }
    next
}

/// Only an answer of the server would tell.
fn unknown(lines: u64) {
    if lines > 0 {
        eprintln!("{lines} lines were sent in this session, and may not have arrived");
    }
}

fn waiting(waiting: &Waiting<'_>) {
    eprintln!("waiting {:.3} s: {}", waiting.time.as_secs_f64(), waiting.error);
}

fn connected(attempts: u32, downtime: Duration, previous: Option<&End>) {
    eprint!("connected, attempt {attempts}, after {:.3} s", downtime.as_secs_f64());
    match previous {
        Some(end) => eprintln!("; before: {end}"),
        None => eprintln!(),
    }
}

fn print(message: &Message) {
    println!("{}", message.as_text().unwrap_or("(binary)"));
}
