//! Rust's core library for BPF: prebuilt from the distribution, or its source from rustup.

use std::process::Command;

use anyhow::{Result, bail};

use super::{apt, step};
use crate::{
    progress::{self, Lines},
    run,
};

/// A rustc beside rustup's, and its `core` for BPF.
pub(super) const PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// How long rustup may take: where its server is filtered, it would wait for minutes.
const RUSTUP_PATIENCE: &str = "120";

/// Gets `core` one way or the other.
pub(super) fn install() -> Result<()> {
    // Root is a machine made for this, where packages are the way that always works. A person is
    // not asked for a password, nor given a second compiler, for what rustup can do.
    let ways: [fn() -> Result<()>; 2] = if run::is_root() {
        [from_packages, from_rustup]
    } else {
        [from_rustup, from_packages]
    };
    for way in ways {
        match way() {
            Ok(()) => return Ok(()),
            Err(error) => step(&format!("that way is closed: {error:#}")),
        }
    }
    bail!(
        "cannot get it, neither as packages nor from rustup. Once rustup's server can be reached, \
         `rustup component add rust-src` is enough; on Debian, the packages {} are",
        PACKAGES.join(" and ")
    )
}

fn from_packages() -> Result<()> {
    step("a compiler with a prebuilt core for BPF comes as packages");
    apt::install(&PACKAGES)
}

fn from_rustup() -> Result<()> {
    if run::find("rustup").is_none() {
        bail!("there is no rustup");
    }
    step("asking rustup for rust-src, to build core from");
    let mut rustup = Command::new("timeout");
    rustup.current_dir(run::workspace()).arg(RUSTUP_PATIENCE);
    rustup.args(["rustup", "component", "add", "rust-src"]);
    progress::run("setup: fetching rust-src", rustup, Lines::Show)
}
