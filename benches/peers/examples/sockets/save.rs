//! Figures in a file: `--save FILE` of the programs. `benches/report` makes tables of them.
//!
//! benches/README.md describes the format.

use std::fmt::Write;
use std::io::{Error, Result};
use std::path::Path;
use std::process::Command;

/// What was built, to say which version of each library was measured.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// The libraries whose versions matter.
const LIBRARIES: &[&str] = &[
    "axum",
    "bowline",
    "embedded-websocket",
    "fastwebsockets",
    "h2",
    "hyper",
    "rustls",
    "sockudo-ws",
    "soketto",
    "tokio",
    "tokio-websockets",
    "tungstenite",
    "web-socket",
    "ws-tool",
    "wtx",
    "yawc",
    "zlib-rs",
];

/// What was measured, until it is written.
#[derive(Debug)]
pub struct Figures {
    command: String,
    lines: Vec<String>,
}

impl Figures {
    /// The figures of a program that `command` starts with these arguments.
    pub fn new(command: &str, arguments: &[String]) -> Self {
        let mut command = command.to_string();
        let mut separator = " -- ";
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                // The file name does not matter, and cargo adds the other argument.
                "--save" => drop(rest.next()),
                "--bench" => {}
                other => {
                    command += separator;
                    command += other;
                    separator = " ";
                }
            }
        }
        Self { command, lines: Vec::new() }
    }

    /// A figure as it was computed, in its table, row and column. It is a median, and `spread` says how far apart
    /// its measurements were. NaN: it was not measured.
    pub fn add(&mut self, place: [&str; 3], value: f64, spread: Option<f64>) {
        if !value.is_finite() {
            return;
        }
        let [table, row, column] = place.map(quoted);
        let mut line =
            format!(r#"{{"table": {table}, "row": {row}, "column": {column}, "value": {value}"#);
        if let Some(spread) = spread.filter(|spread| spread.is_finite()) {
            let _ = write!(line, r#", "spread": {spread}"#);
        }
        self.lines.push(line + "}");
    }

    /// Writes the file, if one was asked for.
    pub fn write(&self, file: Option<&Path>) -> Result<()> {
        let Some(file) = file else { return Ok(()) };
        let mut text = String::from("{\n");
        let mut field = |name: &str, value: &str| {
            let _ = writeln!(text, " {}: {value},", quoted(name));
        };
        field("command", &quoted(&self.command));
        field("date", &quoted(&says("date", &["-u", "+%F"])));
        field("machine", &machine());
        field("libraries", &libraries());
        let _ = write!(text, " \"figures\": [\n  {}\n ]\n}}\n", self.lines.join(",\n  "));
        std::fs::write(file, text)
    }
}

/// The file after `--save`. Its folder is checked before anything is measured.
pub fn file(arguments: &[String]) -> Result<Option<&Path>> {
    let Some(at) = arguments.iter().position(|argument| argument == "--save") else {
        return Ok(None);
    };
    let file = Path::new(arguments.get(at + 1).ok_or_else(|| Error::other("--save takes a file"))?);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.is_none_or(Path::is_dir) {
        true => Ok(Some(file)),
        false => Err(Error::other(format!("--save: no folder for {}", file.display()))),
    }
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{{}}}", fields.join(", "))
}

/// The machine without its name, as `machine` of benches/saved.py.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = |name: &str| {
        info.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map_or("unknown", |(_, value)| value.trim())
    };
    let processor =
        format!("{}, family {}, model {}", line("model name"), line("cpu family"), line("model"));
    let is_virtual = line("flags").split_whitespace().any(|flag| flag == "hypervisor");
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let release = says("uname", &["-r"]);
    let version = release.split(|c: char| c != '.' && !c.is_ascii_digit()).next();
    let rustc = says("rustc", &["--version"]);
    object(&[
        ("processor", quoted(&processor)),
        ("virtual", is_virtual.to_string()),
        ("cores", cores.to_string()),
        ("kernel", quoted(&format!("{} {}", says("uname", &["-s"]), version.unwrap_or_default()))),
        ("rustc", quoted(rustc.split_whitespace().nth(1).unwrap_or("unknown"))),
    ])
}

fn libraries() -> String {
    let versions: Vec<_> = LIBRARIES
        .iter()
        .filter_map(|name| {
            // The last is the newest: axum has an older tungstenite.
            let (_, after) = LOCK.rsplit_once(&format!("name = \"{name}\"\nversion = \""))?;
            Some((*name, quoted(after.split_once('"')?.0)))
        })
        .collect();
    object(&versions)
}

/// The first line that a command prints.
fn says(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown").to_string()
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}
