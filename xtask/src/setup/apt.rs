//! Installing packages of a Debian-like distribution.

use std::{process::Command, sync::Once};

use anyhow::{Context as _, Result, bail};

use super::step;
use crate::{
    progress::{self, Lines},
    run,
};

/// Installs those of the packages that the distribution has.
///
/// Never removes a package to do so: on a developer's machine that could be the compiler.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    if run::find("apt-get").is_none() {
        bail!(
            "there is no apt-get here: install the equivalents of {} yourself",
            list(packages)
        );
    }
    if run::root_command("apt-get").is_none() {
        bail!(
            "installing packages takes root, and there is no sudo: install {}",
            list(packages)
        );
    }
    update_once();
    let (known, unknown): (Vec<&str>, Vec<&str>) =
        packages.iter().partition(|package| is_known(package));
    if !unknown.is_empty() {
        step(&format!(
            "this distribution does not have {}",
            list(&unknown)
        ));
    }
    if known.is_empty() {
        bail!("none of these packages is available here");
    }
    step(&format!("installing packages: {}", list(&known)));
    let mut apt = apt_get()?;
    apt.args(["install", "-y", "--no-install-recommends", "--no-remove"]);
    apt.args(known);
    // Its hundreds of lines are worth reading only when it fails.
    progress::run("setup: installing packages", apt, Lines::ShowOnFailure)
}

/// A fresh machine has no package lists, or has lists of packages that are gone.
pub(super) fn update_once() {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        step("fetching the package lists");
        let updated = apt_get().and_then(|mut apt| {
            apt.arg("update");
            let task = "setup: fetching the package lists";
            progress::run(task, apt, Lines::ShowOnFailure)
        });
        // One unreachable source fails the whole update, and need not be the one that matters.
        if let Err(error) = updated {
            step(&format!("{error:#}; continuing with the existing lists"));
        }
    });
}

/// apt-get as root, without questions.
fn apt_get() -> Result<Command> {
    let mut apt = run::root_command("env").context("installing packages takes root")?;
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    apt.args(["-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3"]);
    Ok(apt)
}

/// Whether there is something to install under this name.
fn is_known(package: &str) -> bool {
    Command::new("apt-cache")
        .args(["show", "--quiet=2", "--no-all-versions", package])
        .output()
        .is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

fn list(packages: &[&str]) -> String {
    packages.join(" ")
}
