//! What the programs with `--save` write: benches/test_report.py has the reader's tests.

#[path = "../examples/sockets/save.rs"]
mod save;

use std::path::{Path, PathBuf};

use save::Figures;

fn arguments(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The text of a file that a program with these arguments writes, with one figure.
fn written(name: &str, words: &[&str], value: f64, spread: Option<f64>) -> String {
    let file: PathBuf = [env!("CARGO_TARGET_TMPDIR"), name].iter().collect();
    let mut figures = Figures::new("cargo run", &arguments(words));
    figures.add(["a \"table\"\\", "16 B\n", "µs"], value, spread);
    figures.write(Some(&file)).unwrap();
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn a_figure_is_written_as_it_is_and_its_names_are_escaped() {
    let text = written("figure.json", &[], 1.0 / 3.0, Some(1.25));
    let line = r#"  {"table": "a \"table\"\\", "row": "16 B\u000a", "column": "µs", "value": 0.3333333333333333, "spread": 1.25}"#;
    assert!(text.contains(line), "{text}");
    assert!(text.starts_with("{\n \"command\": \"cargo run\",\n \"date\": \"20"), "{text}");
    assert!(text.ends_with("}\n ]\n}\n"), "{text}");
    assert!(text.contains(&format!("\"rustc\": \"{}\"", rustc())), "{text}");
    assert!(text.contains("\"bowline\": \"0."), "{text}");
}

fn rustc() -> String {
    let output = std::process::Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_string()
}

#[test]
fn the_command_has_all_arguments_but_the_file() {
    let words = ["--bench", "--payloads", "16", "--save", "somewhere/secret.json", "--together"];
    let text = written("command.json", &words, 1.0, None);
    assert!(text.contains("\"command\": \"cargo run -- --payloads 16 --together\""), "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert!(!text.contains("spread"), "{text}");
}

#[test]
fn what_is_not_a_number_is_left_out() {
    for value in [f64::NAN, f64::INFINITY] {
        let text = written("nothing.json", &[], value, None);
        assert!(!text.contains("value"), "{text}");
    }
    let text = written("spread.json", &[], 1.0, Some(f64::NAN));
    assert!(text.contains("\"value\": 1}"), "{text}");
}

#[test]
fn a_file_that_cannot_be_is_refused_before_anything_is_measured() {
    assert_eq!(save::file(&arguments(&["--rounds", "1"])).unwrap(), None);
    let words = arguments(&["--save", "figures.json"]);
    assert_eq!(save::file(&words).unwrap(), Some(Path::new("figures.json")));
    assert!(save::file(&arguments(&["--save"])).is_err());
    let missing = format!("{}/no/such/figures.json", env!("CARGO_TARGET_TMPDIR"));
    assert!(save::file(&arguments(&["--save", &missing])).is_err());
}

#[test]
fn without_a_file_nothing_is_written() {
    Figures::new("cargo run", &[]).write(None).unwrap();
}
