//! `cargo xtask bench`: what whydrop costs, measured.

use std::ffi::OsString;

use anyhow::Result;

use crate::{lab, run, setup};

/// Builds whydrop as it is released, and runs the benchmarks that `args` select.
pub(crate) fn bench(args: &[OsString]) -> Result<()> {
    setup::setup_for_labs()?.require_tools()?;
    setup::offer_bench_tools();
    let root = ["--root".into(), run::workspace().into()];
    lab::start_released("bench", &[&root, args].concat())
}
