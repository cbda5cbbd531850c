//! Packages that are unpacked under the target directory, for a program that cannot be installed:
//! the distribution's package may be in conflict with one that is here, and a developer's machine
//! keeps its own.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{step, tools::Tool};
use crate::{
    progress::{self, Lines},
    run,
};

/// Where Debian keeps shared libraries for x86-64, from the root of a package.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// A command that runs a program of a package: the installed one, or that of the unpacked package
/// with its libraries.
pub(crate) fn command(program: &str, package: &str) -> Command {
    if run::find(program).is_some() {
        return Command::new(program);
    }
    let root = root(package);
    let mut command = Command::new(root.join("usr/bin").join(program));
    let mut libraries = OsString::new();
    for directory in LIBRARIES {
        libraries.push(root.join(directory));
        libraries.push(":");
    }
    libraries.push(std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default());
    command.env("LD_LIBRARY_PATH", libraries);
    command
}

/// The unpacked files of a package, if [`command`] takes the program from there.
pub(crate) fn files(program: &str, package: &str) -> Option<PathBuf> {
    run::find(program).is_none().then(|| root(package))
}

/// Whether the program is in its unpacked package.
pub(super) fn has(tool: &Tool) -> bool {
    root(tool.package)
        .join("usr/bin")
        .join(tool.program)
        .is_file()
}

/// Fetches a tool's package and what it depends on, and unpacks them. Installs nothing, and takes
/// no root.
pub(super) fn provide(tool: &Tool) -> Result<()> {
    let package = tool.package;
    let root = root(package);
    step(&format!(
        "{package} cannot be installed; unpacking it in {}",
        root.display()
    ));
    // Complete or not there at all.
    let partial = root.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let archives = partial.join("archives");
    fs::create_dir_all(archives.join("partial"))?;
    download(package, &archives)?;
    for entry in fs::read_dir(&archives)? {
        let archive = entry?.path();
        if archive.extension().is_some_and(|end| end == "deb") {
            run::run(Command::new("dpkg").arg("-x").args([&archive, &partial]))?;
        }
    }
    fs::remove_dir_all(archives)?;
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::rename(&partial, &root).with_context(|| format!("cannot create {}", root.display()))
}

/// Fetches the archives that an installation would unpack. What it would remove stays.
fn download(package: &str, archives: &Path) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args([
        "install",
        "-y",
        "--no-install-recommends",
        "--download-only",
    ])
    .args(["-o", "Debug::NoLocking=1", "-o", "Acquire::Retries=3"])
    .args([
        "-o",
        &format!("Dir::Cache::archives={}", archives.display()),
    ])
    .arg(package);
    progress::run(
        &format!("setup: fetching {package}"),
        apt,
        Lines::ShowOnFailure,
    )
}

fn root(package: &str) -> PathBuf {
    run::workspace().join("target/packages").join(package)
}
