//! The folders of `src` depend on each other in one direction (docs/design.md, "Layout").

use std::path::Path;

/// Each line may use the lines before it. The folders of one line do not use each other.
const LAYERS: &[&[&str]] = &[
    &["memory"],
    &["protocol"],
    &["handshake"],
    &["adapter"],
    &["asynchronous", "blocking"],
    &["tokio", "futures"],
    &["embed"],
];

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

/// The folders that a file uses: what follows `crate::` in its code.
fn used(source: &str) -> impl Iterator<Item = &str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|path| path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""))
}

fn check(folder: &Path, own: &str, checked: &mut usize) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check(&path, own, checked);
            continue;
        }
        for name in used(&std::fs::read_to_string(&path).unwrap()) {
            *checked += 1;
            let allowed = name == own || layer(name) < layer(own) && layer(name).is_some();
            assert!(allowed, "{}: `crate::{name}` is not below `{own}`", path.display());
        }
    }
}

#[test]
fn each_folder_uses_only_those_before_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut checked = 0;
    for entry in src.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        if path.is_dir() {
            assert!(layer(&name).is_some(), "the folder {name} has no place");
            check(&path, &name, &mut checked);
        } else {
            assert_eq!(name, "lib", "every file has a folder");
        }
    }
    assert!(checked > 200, "only {checked} uses were found");
}
