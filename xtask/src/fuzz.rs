//! `cargo xtask fuzz`: mutated input for every parser of what comes from outside.

use anyhow::Result;
use clap::Args;

use crate::{run, setup};

#[derive(Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Parts of targets' names (endpoint, kubeconfig, nft, …); all of them without any
    targets: Vec<String>,
}

/// Runs the targets: tests of the library whose names begin with `fuzz_`.
pub(crate) fn fuzz(options: &Options) -> Result<()> {
    setup::setup()?;
    let mut cargo = run::cargo();
    cargo
        .env("WHYDROP_FUZZ_SECONDS", options.seconds.to_string())
        // With optimization, a second is worth ten; overflows are still found.
        .args(["test", "--package", "whydrop", "--lib", "--", "--nocapture"]);
    match options.targets.is_empty() {
        true => cargo.arg("fuzz_"),
        false => cargo.args(options.targets.iter().map(|name| format!("fuzz_{name}"))),
    };
    run::run(&mut cargo)
}
