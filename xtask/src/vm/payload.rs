//! What goes into every machine: whydrop and the test executables, with nothing to load.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::image::PAYLOAD;
use crate::run;

/// What is built for: said even where it is the compiler's own, because cargo then keeps flags for
/// it away from build scripts and procedural macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Without symbols the executables are a tenth as large, and all of them are in memory. Emulation
/// is slow, so deadlines are longer.
const ENVIRONMENT: [(&str, &str); 4] = [
    (
        "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
        "-C target-feature=+crt-static",
    ),
    ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"),
    ("CARGO_PROFILE_DEV_STRIP", "debuginfo"),
    ("WHYDROP_TEST_SLOW", "3"),
];

/// The library's own tests, of which those that need root are run.
const UNITS: &str = "units";

/// The executables.
pub(super) struct Payload {
    whydrop: PathBuf,
    tests: Vec<(String, PathBuf)>,
}

impl Payload {
    /// Builds them in a directory of their own. `only` names test executables; all, if it is empty.
    pub(super) fn build(directory: &Path, only: &[String]) -> Result<Self> {
        eprintln!("vm-test: building whydrop and its tests, statically");
        let whydrop = executables(directory, &["build", "--package", "whydrop"])?;
        let (_, whydrop) = whydrop.into_iter().next().context("cargo built nothing")?;
        let mut tests = executables(
            directory,
            &["test", "--no-run", "--package", "whydrop-tests", "--tests"],
        )?;
        let units = ["test", "--no-run", "--package", "whydrop", "--lib"];
        for (_, path) in executables(directory, &units)? {
            tests.push((UNITS.to_owned(), path));
        }
        if let Some(unknown) = only
            .iter()
            .find(|only| !tests.iter().any(|(name, _)| name == *only))
        {
            let names: Vec<&str> = tests.iter().map(|(name, _)| name.as_str()).collect();
            bail!("there is no test {unknown}; there are {}", names.join(" "));
        }
        tests.retain(|(name, _)| only.is_empty() || only.contains(name));
        Ok(Self { whydrop, tests })
    }

    /// Every executable, with its name inside.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let tests = self.tests.iter();
        tests
            .map(|(name, path)| (name.as_str(), path.as_path()))
            .chain([("whydrop", self.whydrop.as_path())])
    }

    /// The shell commands that run all tests with these arguments.
    pub(super) fn commands(&self, args: &[OsString]) -> String {
        let args: Vec<String> = args
            .iter()
            .map(|arg| format!("'{}'", arg.to_string_lossy().replace('\'', r"'\''")))
            .collect();
        let args = args.join(" ");
        let mut commands = format!(
            "begin check /{PAYLOAD}/whydrop check\n\
             begin load /{PAYLOAD}/whydrop --all --no-kube --duration 2s\n"
        );
        for (name, _) in &self.tests {
            // Units change namespaces of their own, one after the other.
            let own = if name == UNITS {
                "--ignored --test-threads=1"
            } else {
                ""
            };
            commands += &format!("begin {name} /{PAYLOAD}/{name} {own} {args}\n");
        }
        commands
    }
}

/// Runs cargo, and gives the names and paths of the executables that it built.
fn executables(directory: &Path, args: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let output = run::cargo()
        .args(args)
        .args(["--quiet", "--target", TARGET])
        .arg("--target-dir")
        .arg(directory)
        .arg("--message-format=json-render-diagnostics")
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(executable).collect())
}

/// The name and path of the executable that a message of cargo's speaks of.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    let kind = message.get("target")?.get("kind")?.get(0)?.as_str()?;
    let tested = message.get("profile")?.get("test")?.as_bool()?;
    // The tests' own helpers are programs without tests.
    (tested == (kind != "bin") || name == "whydrop").then(|| (name.to_owned(), path.into()))
}
