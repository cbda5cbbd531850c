//! The demo, the labs to play in and the soak: programs of the package `whydrop-tests`, run as root.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{progress, run, setup};

/// The environment variable that tells the labs which whydrop to run.
const WHYDROP: &str = "WHYDROP_BIN";

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

/// Builds whydrop as it is released and runs it for minutes in a lab that changes all the time.
pub(crate) fn soak(args: &[OsString]) -> Result<()> {
    setup::setup_for_labs()?.require_tools()?;
    start_released("soak", args)
}

/// Builds `program` and whydrop, and nothing else, and runs it. The same build serves the tests.
fn start(program: &str, args: &[impl AsRef<OsStr>]) -> Result<()> {
    setup::setup_for_labs()?.require_tools()?;
    let mut cargo = run::cargo();
    // No `--package`: a selection of packages has features of its own, and with them a build.
    cargo.args(["build", "--bin", "whydrop", "--bin", program]);
    progress::cargo("building whydrop", cargo)?;
    let built = beside_xtask()?;
    run_program(&built.join(program), &built.join("whydrop"), args)
}

/// Builds whydrop as it is released, and runs `program` with it.
pub(crate) fn start_released(program: &str, args: &[impl AsRef<OsStr>]) -> Result<()> {
    let mut whydrop = run::cargo();
    whydrop.args(["build", "--release", "--package", "whydrop"]);
    progress::cargo("building whydrop for release", whydrop)?;
    let mut cargo = run::cargo();
    cargo.args(["build", "--release", "--package", "whydrop-tests"]);
    cargo.args(["--bin", program]);
    progress::cargo(&format!("building {program}"), cargo)?;
    let debug = beside_xtask()?;
    let release = debug.parent().unwrap_or(&debug).join("release");
    run_program(&release.join(program), &release.join("whydrop"), args)
}

fn run_program(program: &Path, whydrop: &Path, args: &[impl AsRef<OsStr>]) -> Result<()> {
    let mut command = run::root_command(program).context(
        "network namespaces and kernel programs need root, and there is no sudo: run this as root",
    )?;
    run::run_interactive(command.env(WHYDROP, whydrop).args(args))
}

/// Where cargo puts what it builds: this program is there too.
fn beside_xtask() -> Result<PathBuf> {
    let xtask = env::current_exe().context("cannot find this program")?;
    let directory = xtask.parent().context("a program is in a directory")?;
    Ok(directory.to_owned())
}
