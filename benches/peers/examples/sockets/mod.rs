//! What the benchmarks over loopback share: servers in processes of their own, and a client that
//! drives them.

#![allow(dead_code, reason = "each of them uses its part")]

pub mod frames;
pub mod handshakes;
pub mod load;
pub mod process;
pub mod rounds;
pub mod save;
pub mod servers;
pub mod shapes;

use std::time::Duration;

pub type Result<T> = std::io::Result<T>;

/// The command line. A process that [`Process::start`](process::Process::start) made serves and does not come back.
/// `--help` prints the help and ends the program.
pub fn arguments(help: &str) -> Vec<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == process::SERVE) {
        process::serve(&arguments[1..], || 0);
    }
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{help}");
        std::process::exit(0);
    }
    arguments
}

/// How long a measurement takes (`--seconds`), and how many there are of each row (`--rounds`).
pub fn time_and_rounds(arguments: &[String], seconds: f64) -> (Duration, usize) {
    let time = Duration::from_secs_f64(number(arguments, "--seconds", seconds));
    (time, number(arguments, "--rounds", 9.0) as usize)
}

/// The value after `--name`, or all values up to the next option.
pub fn option<'a>(arguments: &'a [String], name: &str) -> Option<Vec<&'a str>> {
    let at = arguments.iter().position(|argument| argument == name)?;
    let values = arguments[at + 1..].iter().take_while(|value| !value.starts_with("--"));
    Some(values.map(String::as_str).collect())
}

/// The values of `--name` by their names, or all.
pub fn choose<T: Copy>(arguments: &[String], name: &str, all: &[(&'static str, T)]) -> Vec<T> {
    match option(arguments, name) {
        None => all.iter().map(|(_, value)| *value).collect(),
        Some(names) => names
            .into_iter()
            .map(|name| match all.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => *value,
                None => {
                    let known: Vec<_> = all.iter().map(|(known, _)| *known).collect();
                    eprintln!("{name:?} is none of {}", known.join(", "));
                    std::process::exit(2);
                }
            })
            .collect(),
    }
}

/// The number after `--name`.
pub fn number(arguments: &[String], name: &str, default: f64) -> f64 {
    match option(arguments, name).as_deref() {
        None => default,
        Some([value]) => value.parse().expect(name),
        Some(_) => panic!("{name} takes one number"),
    }
}
