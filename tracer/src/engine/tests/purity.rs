//! The engine does no I/O: its sources name nothing that could.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What would read a clock, wait, or touch the outside world.
const FORBIDDEN: [&str; 9] = [
    "tokio",
    "std::fs",
    "std::io",
    "std::thread",
    "Instant",
    "SystemTime::now",
    "monotonic_nanos",
    "kernel::",
    "sink::",
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let is_test = ["tests", "tests.rs", "properties.rs"]
            .iter()
            .any(|name| path.ends_with(name));
        if path.is_dir() && !is_test {
            sources(&path, found);
        } else if path.extension().is_some_and(|rust| rust == "rs") && !is_test {
            found.push(path);
        }
    }
}

#[test]
fn the_engine_names_no_means_of_io() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for room in ["engine", "attempt"] {
        sources(&root.join(room), &mut found);
    }
    assert!(found.len() > 20, "{found:?}");
    for path in found {
        let text = fs::read_to_string(&path).expect("a source");
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
        let code = product
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        for word in FORBIDDEN {
            assert!(!code.contains(word), "{}: {word}", path.display());
        }
    }
}
