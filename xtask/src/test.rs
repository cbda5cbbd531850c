//! `cargo xtask test`: the tests of plain code, then the scenarios on the running kernel.

use std::ffi::OsString;

use anyhow::Result;

use crate::{run, setup};

/// Unit tests of what can only be seen on a kernel, such as netlink; plain `cargo test` passes them
/// over. They change namespaces of their own, one after the other.
const UNITS_THAT_NEED_ROOT: [&str; 7] = [
    "test",
    "--package",
    "whydrop",
    "--lib",
    "--",
    "--ignored",
    "--test-threads=1",
];

/// Runs every test that `args` select.
pub(crate) fn test(args: &[OsString]) -> Result<()> {
    setup::setup()?.require_tools()?;
    // The scenarios run the program as a user does, so it has to be there.
    run::run(run::cargo().args(["build", "--package", "whydrop"]))?;

    let plain = ["test", "--workspace", "--exclude", "tracer-ebpf"];
    if run::is_root() {
        run::run(run::cargo().args(plain).args(args))?;
        return if args.is_empty() || args == ["--no-fail-fast"] {
            run::run(run::cargo().args(UNITS_THAT_NEED_ROOT))
        } else {
            Ok(())
        };
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
    )?;
    run::run(run::cargo_for_root()?.args(UNITS_THAT_NEED_ROOT))
}
