//! What the folders may touch.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

#[test]
fn the_core_is_pure() {
    let files = [sources(&root().join("broker/src/core")), sources(&root().join("schemas/src"))].concat();
    assert!(files.len() > 20, "{files:?}");
    for file in files.into_iter().filter(|file| !file.to_string_lossy().ends_with("tests.rs")) {
        let text = fs::read_to_string(&file).unwrap();
        for impure in [
            "tokio",
            "sled",
            "axum",
            "reqwest",
            "tracing",
            "std::fs",
            "std::net",
            "std::env",
            "std::thread",
            "SystemTime",
            "Instant",
            "async ",
        ] {
            let line = text.lines().find(|line| line.contains(impure) && !line.trim_start().starts_with("//"));
            assert!(line.is_none(), "{} has {impure}: {}", file.display(), line.unwrap_or_default());
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    for (of, not) in [("schemas", &["worker", "broker", "tests"][..]), ("worker", &["broker", "tests"]), ("broker", &["tests"])] {
        let manifest = fs::read_to_string(root().join(of).join("Cargo.toml")).unwrap();
        for other in not {
            assert!(!manifest.contains(&format!("pullyard-{other}")), "{of} depends on {other}");
        }
    }
}
