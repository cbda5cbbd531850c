//! `cargo xtask test`: the tests of plain code, then the scenarios on the running kernel.

use std::ffi::OsString;

use anyhow::Result;

use crate::{run, setup};

/// Runs every test that `args` select.
pub(crate) fn test(args: &[OsString]) -> Result<()> {
    setup::setup()?.require_tools()?;
    // The scenarios run the program as a user does, so it has to be there.
    run::run(run::cargo().args(["build", "--package", "whydrop"]))?;

    let plain = ["test", "--workspace", "--exclude", "tracer-ebpf"];
    if run::is_root() {
        return run::run(run::cargo().args(plain).args(args));
    }
    // What needs no root runs without it, and first: it is the quicker half.
    run::run(
        run::cargo()
            .args(plain)
            .args(["--exclude", "whydrop-tests"])
            .args(args),
    )?;
    run::run(
        run::cargo_for_root()?
            .args(["test", "--package", "whydrop-tests"])
            .args(args),
    )
}
