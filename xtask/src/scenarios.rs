//! `cargo xtask scenarios`: the tables of scenarios, `tests/tests/README.md`, from their doc comments.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::run;

const SOURCES: &str = "tests/tests";
const TABLE: &str = "tests/tests/README.md";

/// Writes the table.
pub(crate) fn scenarios() -> Result<()> {
    let text = table(&run::workspace().join(SOURCES))?;
    let path = run::workspace().join(TABLE);
    fs::write(path, text).with_context(|| format!("cannot write {TABLE}"))
}

/// A file of scenarios: what it says of itself, and its tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Module {
    /// Empty for the crate's root.
    name: String,
    about: String,
    tests: Vec<Test>,
}

#[derive(Debug, PartialEq, Eq)]
struct Test {
    name: String,
    /// Empty if its name says it.
    about: String,
}

fn table(directory: &Path) -> Result<String> {
    let mut modules = Vec::new();
    read_directory(directory, &mut Vec::new(), &mut modules)?;
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = "# Scenarios\n".to_owned();
    for module in modules {
        if module.name.is_empty() {
            text += &format!("\n{}\n", module.about);
            continue;
        }
        text += &format!("\n## `{}`\n\n{}\n", module.name, module.about);
        if module.tests.is_empty() {
            continue;
        }
        text += "\n| scenario | note |\n|---|---|\n";
        for Test { name, about } in module.tests {
            let about = about.replace('|', "\\|").replace('\n', " ");
            text += &format!("| `{name}` | {about} |\n");
        }
    }
    Ok(text)
}

/// Reads all modules below a directory, which is one itself.
fn read_directory(
    directory: &Path,
    within: &mut Vec<String>,
    modules: &mut Vec<Module>,
) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_root = ["main", "mod"].contains(&&*name);
        if !is_root {
            within.push(name.into_owned());
        }
        if path.is_dir() {
            read_directory(&path, within, modules)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path)?;
            modules.push(module(within.join("::"), &source));
        }
        if !is_root {
            within.pop();
        }
    }
    Ok(())
}

/// Reads one file: its inner doc comment, and each `#[test]` with its own.
fn module(name: String, source: &str) -> Module {
    let mut module = Module {
        name,
        ..Module::default()
    };
    let mut about = String::new();
    let mut is_test = false;
    for line in source.lines() {
        if let Some(words) = line.strip_prefix("//!") {
            add_line(&mut module.about, words);
        } else if let Some(words) = line.strip_prefix("///") {
            add_line(&mut about, words);
        } else if line == "#[test]" {
            is_test = true;
        } else if !line.starts_with("#[") {
            let function = line.strip_prefix("fn ");
            if let Some((name, _)) = function.and_then(|rest| rest.split_once('('))
                && is_test
            {
                module.tests.push(Test {
                    name: name.to_owned(),
                    about: about.clone(),
                });
            }
            about.clear();
            is_test = false;
        }
    }
    module
}

fn add_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    *text += line.strip_prefix(' ').unwrap_or(line);
}

#[test]
fn the_tables_are_current() -> Result<()> {
    let is = fs::read_to_string(run::workspace().join(TABLE))?;
    let should = table(&run::workspace().join(SOURCES))?;
    assert!(
        is == should,
        "{TABLE} is out of date: run `cargo xtask scenarios`"
    );
    Ok(())
}

#[test]
fn what_a_file_says() {
    let source = "//! About size.\n//! More.\n\nuse anyhow::Result;\n\n/// Not a test.\nfn helper() {}\n\n\
        /// Too large\n/// for the link.\n#[test]\n#[ignore]\nfn veth() -> Result<()> {\n    #[test]\n}\n\n\
        #[test]\nfn too_large() {}\n";
    let test = |name: &str, about: &str| Test {
        name: name.to_owned(),
        about: about.to_owned(),
    };
    let expected = Module {
        name: "size".to_owned(),
        about: "About size.\nMore.".to_owned(),
        tests: vec![
            test("veth", "Too large\nfor the link."),
            test("too_large", ""),
        ],
    };
    assert_eq!(module("size".to_owned(), source), expected);
}
