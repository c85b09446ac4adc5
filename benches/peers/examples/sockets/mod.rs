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

pub type Result<T> = std::io::Result<T>;

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
