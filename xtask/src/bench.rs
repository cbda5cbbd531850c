//! `cargo xtask bench`: what whydrop costs, measured.

use std::ffi::OsString;

use anyhow::Result;

use crate::{run, setup};

/// Builds whydrop as it is shipped, and runs the benchmarks that `args` select.
pub(crate) fn bench(args: &[OsString]) -> Result<()> {
    setup::setup()?.require_tools()?;
    setup::offer_bench_tools();
    // The benchmarks look for the program beside themselves, hence the same profile.
    run::run(run::cargo().args(["build", "--release", "--package", "whydrop"]))?;
    let mut cargo = run::cargo_for_root()?;
    cargo.args(["run", "--quiet", "--release"]);
    cargo.args(["--package", "whydrop-tests", "--bin", "bench", "--"]);
    run::run(cargo.arg("--root").arg(run::workspace()).args(args))
}
