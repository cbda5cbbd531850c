//! `cargo xtask lint`: formatting, clippy, rustdoc and the dependencies, without warnings.

use std::{
    io::{self, IsTerminal as _},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{run, setup};

const NO_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// What `kubectl whydrop` is built of where there is no node.
const LAPTOP: [&str; 3] = ["--package", "whydrop", "--no-default-features"];

/// What the host can compile.
const WORKSPACE: [&str; 4] = ["--keep-going", "--workspace", "--exclude", "tracer-ebpf"];

/// What the laptop's half must do without: it is to build where nodes are not.
const OF_NODES: [&str; 8] = [
    "aya",
    "aya-log",
    "btf-rs",
    "cri-messages",
    "netlink-sys",
    "prost",
    "tonic",
    "tracer-ebpf",
];

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
        (
            "clippy, the laptop's half",
            cargo("clippy", &[&LAPTOP[..], &NO_WARNINGS].concat()),
        ),
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
    eprintln!("lint: dependencies of the laptop's half");
    if let Err(error) = laptop() {
        eprintln!("lint: dependencies of the laptop's half: {error:#}");
        failed.push("dependencies of the laptop's half");
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join("; "));
    }
    eprintln!("lint: clean");
    Ok(())
}

/// Holds the dependencies of the laptop's half, on any machine, against [`OF_NODES`].
fn laptop() -> Result<()> {
    let mut tree = run::cargo();
    let tree = tree.arg("tree").args(LAPTOP).args([
        "--locked",
        "--target",
        "all",
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let output = tree.output()?;
    if !output.status.success() {
        bail!(
            "{tree:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.split(' ').next());
    let mut found: Vec<&str> = names.filter(|name| OF_NODES.contains(name)).collect();
    found.sort_unstable();
    found.dedup();
    if !found.is_empty() {
        bail!(
            "it depends on {}: put that behind the feature `trace`",
            found.join(", ")
        );
    }
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
