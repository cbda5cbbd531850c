//! `cargo xtask lint`: formatting, clippy and rustdoc, each with warnings denied.

use std::{
    io::{self, IsTerminal as _},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{run, setup};

/// Runs all checks, also after one has failed: one run shows all there is to mend.
pub(crate) fn lint() -> Result<()> {
    setup::setup()?;
    // Clippy cannot read the prebuilt `core` for BPF, which is another compiler's; what the kernel
    // programs share with the host it can check on the host.
    let host = ["--package", "tracer-ebpf", "--", "-D", "warnings"];
    let everything = [
        "--keep-going",
        "--workspace",
        "--exclude",
        "tracer-ebpf",
        "--all-targets",
    ];
    let documented = [
        "--keep-going",
        "--workspace",
        "--exclude",
        "tracer-ebpf",
        "--no-deps",
    ];
    let checks = [
        ("formatting", cargo("fmt", &["--all", "--check"])),
        (
            "clippy",
            cargo(
                "clippy",
                &[&everything[..], &["--", "-D", "warnings"]].concat(),
            ),
        ),
        (
            "clippy, kernel programs on the host",
            cargo("clippy", &host),
        ),
        ("rustdoc", cargo("doc", &documented)),
    ];
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
    // A quiet `fmt` would hide the differences too.
    if command != "fmt" && !io::stderr().is_terminal() {
        cargo.arg("--quiet");
    }
    cargo.args(args);
    cargo
}
