//! `cargo xtask dist`: whydrop as one file that runs on any distribution.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{executables, run, setup, vm::alone};

/// The kernels that it is started on: the newest of each of these.
const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// The other architecture that Kubernetes nodes have.
const AARCH64: &str = "aarch64-unknown-linux-gnu";

/// What is asked for.
#[derive(Args)]
pub(crate) struct Options {
    /// Do not start it in virtual machines that hold nothing else
    #[arg(long)]
    unchecked: bool,
}

/// Builds it, checks that it starts alone, and says how large it is.
pub(crate) fn dist(options: &Options) -> Result<()> {
    setup::setup()?;
    let built = executables::whydrop()?;
    let name = format!("whydrop-{}", executables::TARGET);
    let directory = run::workspace().join("target/dist");
    fs::create_dir_all(&directory)?;
    let path = directory.join(name);
    fs::copy(&built, &path).with_context(|| format!("cannot write {}", path.display()))?;
    run::run(Command::new("strip").arg(&path))?;
    let size = fs::metadata(&path)?.len();
    println!(
        "dist: {} {}.{} MB",
        path.display(),
        size / 1_000_000,
        size / 100_000 % 10
    );
    if !options.unchecked {
        setup::require_vm_tools()?;
        for kernel in KERNELS {
            starts_alone(&path, kernel)?;
        }
    }
    aarch64()
}

/// `whydrop check` where there is no other file. It finds that nothing can be traced without /sys,
/// says so, and ends with 1 as it should.
fn starts_alone(path: &Path, kernel: &str) -> Result<()> {
    let said = alone::start(path, "check", kernel)?;
    let release = &said.release;
    let text = said.lines.join("\n");
    let expected = [
        format!("kernel {release}"),
        "A trace cannot run here.".to_owned(),
    ];
    for expected in expected {
        ensure!(
            said.lines.iter().any(|line| line.trim() == expected),
            "on {release}, alone, `whydrop check` does not say `{expected}`:\n{text}"
        );
    }
    ensure!(
        said.status == 1,
        "on {release}, alone, `whydrop check` ends with {}:\n{text}",
        said.status
    );
    println!("dist: starts on {release} in a root without any other file");
    Ok(())
}

/// Whether the userspace side compiles for it. What that needs is not on every machine, which is no
/// failure of whydrop's.
fn aarch64() -> Result<()> {
    let Some(why) = lacking()? else {
        return run::run(run::cargo().args(["check", "--package", "whydrop", "--target", AARCH64]))
            .map(|()| println!("dist: whydrop compiles for {AARCH64}"));
    };
    println!("dist: not compiled for {AARCH64}: {why}");
    Ok(())
}

/// What is missing to compile for [`AARCH64`].
fn lacking() -> Result<Option<String>> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", AARCH64])
        .output()
        .context("cannot run rustc")?;
    if !output.status.success() {
        bail!("rustc does not know {AARCH64}");
    }
    let libraries = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok((!Path::new(&libraries).is_dir()).then(|| {
        format!(
            "its standard library is not in {libraries}; `rustup target add {AARCH64}` gets it \
             where rustup's server is reached, and no package of Debian's has it for this compiler"
        )
    }))
}
