//! `cargo xtask test`: the tests of plain code, then the scenarios on the running kernel.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{progress, run, setup};

/// What every step selects. Cargo unites the features that the selected crates want of their
/// dependencies: another selection would compile most of them again.
pub(crate) const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "tracer-ebpf"];

/// Tests in the crates themselves. What needs root among them is ignored.
const UNITS: [&str; 2] = ["--lib", "--bins"];

/// What runs whole programs: the scenarios, which are one, and a few others.
const PROGRAMS: [&str; 2] = ["--test", "*"];

/// Unit tests of what can only be seen on a kernel, such as netlink; plain `cargo test` passes them
/// over. They change namespaces of their own, one after the other.
const UNITS_THAT_NEED_ROOT: [&str; 4] = ["--lib", "--", "--ignored", "--test-threads=1"];

/// Runs every test that `args` select.
pub(crate) fn test(args: &[OsString]) -> Result<()> {
    setup::setup()?.require_tools()?;
    // The one build: the tests, and the program that the scenarios run.
    let mut build = run::cargo();
    build.arg("build").args(WORKSPACE).arg("--all-targets");
    progress::cargo("building whydrop and its tests", build)?;

    let whole = args.is_empty() || args == ["--no-fail-fast"];
    // What needs no root runs without it, and first: it is the quicker half.
    let mut steps = vec![
        tests(run::cargo(), UNITS, args),
        tests(run::cargo_for_root()?, PROGRAMS, args),
    ];
    if whole {
        steps.push(tests(run::cargo_for_root()?, UNITS_THAT_NEED_ROOT, &[]));
    }
    let mut ended = Ok(());
    for mut step in steps {
        let result = run::run(&mut step);
        if result.is_err() && !args.iter().any(|arg| arg == "--no-fail-fast") {
            return result;
        }
        ended = ended.and(result);
    }
    ended
}

fn tests<const N: usize>(mut cargo: Command, which: [&str; N], args: &[OsString]) -> Command {
    cargo.arg("test").args(WORKSPACE).args(which).args(args);
    cargo
}
