//! `cargo xtask lint`: formatting, clippy, rustdoc and the dependencies, without warnings.

use std::{
    io::{self, IsTerminal as _},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{run, setup};

const NO_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// What the host can compile.
const WORKSPACE: [&str; 4] = ["--keep-going", "--workspace", "--exclude", "tracer-ebpf"];

/// Runs all checks, even after one has failed: one run shows everything there is to fix.
pub(crate) fn lint() -> Result<()> {
    setup::setup()?;
    let everything = [&WORKSPACE[..], &["--all-targets"], &NO_WARNINGS].concat();
    // Clippy cannot read the prebuilt `core` for BPF, which is another compiler's; what the kernel
    // programs share with the host it can check on the host.
    let kernel_programs = [&["--package", "tracer-ebpf"][..], &NO_WARNINGS].concat();
    let documentation = [&WORKSPACE[..], &["--no-deps"]].concat();
    let mut checks = vec![
        ("formatting", cargo("fmt", &["--all", "--check"])),
        ("clippy", cargo("clippy", &everything)),
        (
            "clippy, kernel programs on the host",
            cargo("clippy", &kernel_programs),
        ),
        ("rustdoc", cargo("doc", &documentation)),
    ];
    if run::find("cargo-deny").is_some() {
        // Advisories change without a commit: releases and the public CI check them.
        let which = ["check", "bans", "licenses", "sources"];
        checks.push(("dependencies", cargo("deny", &which)));
    } else {
        eprintln!(
            "lint: dependencies: skipped, because cargo-deny is not installed (`cargo install \
             cargo-deny`)"
        );
    }
    let mut failed = Vec::new();
    for (name, mut check) in checks {
        eprintln!("lint: {name}");
        if let Err(error) = run::run(check.env("RUSTDOCFLAGS", "-D warnings")) {
            eprintln!("lint: {name}: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join("; "));
    }
    eprintln!("lint: clean");
    Ok(())
}

/// A cargo command that shows its progress to people only: in a log it hides what matters.
fn cargo(command: &str, args: &[&str]) -> Command {
    let mut cargo = run::cargo();
    cargo.arg(command);
    // A quiet `fmt` would hide the differences too, and `deny` does not know the option.
    if !["fmt", "deny"].contains(&command) && !io::stderr().is_terminal() {
        cargo.arg("--quiet");
    }
    cargo.args(args);
    cargo
}
