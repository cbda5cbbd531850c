//! The demo, the labs to play in and the soak: programs of the package `whydrop-tests`, run as root.

use std::ffi::{OsStr, OsString};

use anyhow::Result;

use crate::{run, setup};

/// Builds whydrop and runs the demo.
pub(crate) fn demo(args: &[OsString]) -> Result<()> {
    start("demo", args)
}

/// Builds whydrop and leaves the lab `name` standing; without a name, lists the labs.
pub(crate) fn lab(name: Option<OsString>, mut args: Vec<OsString>) -> Result<()> {
    if let Some(name) = name {
        args.insert(0, name);
    }
    start("lab", &args)
}

/// Builds whydrop and lets it run for minutes in a lab that changes all the time.
pub(crate) fn soak(args: &[OsString]) -> Result<()> {
    start("soak", args)
}

fn start(program: &str, args: &[impl AsRef<OsStr>]) -> Result<()> {
    setup::setup()?.require_tools()?;
    // The labs look for the program beside themselves, hence the same profile.
    run::run(run::cargo().args(["build", "--release", "--package", "whydrop"]))?;
    let mut cargo = run::cargo_for_root()?;
    cargo.args(["run", "--quiet", "--release"]);
    cargo.args(["--package", "whydrop-tests", "--bin", program, "--"]);
    run::run_interactive(cargo.args(args))
}
