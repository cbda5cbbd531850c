//! Executables that are linked statically: they run on any distribution of their architecture, and
//! in a machine that holds nothing else.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{run, test::WORKSPACE};

/// What is built for: said even where it is the compiler's own, because cargo then keeps flags for
/// it away from build scripts and procedural macros.
pub(crate) struct Target {
    pub(crate) triple: &'static str,
    /// Where cargo looks for flags of this target alone.
    flags: &'static str,
    /// Where cargo looks for its linker, and which that is. `None`: the compiler knows one.
    linker: Option<(&'static str, &'static str)>,
    /// What makes a release smaller and is no matter of the compiler's.
    smaller: &'static str,
}

/// The machines that the tests run on.
pub(crate) const X86_64: Target = Target {
    triple: "x86_64-unknown-linux-gnu",
    flags: "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
    linker: None,
    // The C library applies them at the start: from glibc 2.36 on.
    smaller: " -C link-arg=-Wl,-z,pack-relative-relocs",
};

/// The other architecture that Kubernetes nodes have.
pub(crate) const AARCH64: Target = Target {
    triple: "aarch64-unknown-linux-gnu",
    flags: "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
    linker: Some((
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
        "aarch64-linux-gnu-gcc",
    )),
    smaller: "",
};

const STATIC: &str = "-C target-feature=+crt-static";

/// Where static executables are built, apart from what plain cargo builds, which has other flags.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Where what was built before is taken as it is.
    Kept,
    /// Another one, emptied before.
    Fresh,
}

impl Place {
    fn directory(self) -> PathBuf {
        let target = run::workspace().join("target");
        match self {
            Self::Kept => target.join("static"),
            Self::Fresh => target.join("static-again"),
        }
    }
}

/// whydrop as it is given to people, with these variables set.
pub(crate) fn whydrop(
    target: &Target,
    place: Place,
    environment: &[(&str, &str)],
) -> Result<PathBuf> {
    let directory = place.directory();
    if matches!(place, Place::Fresh) && directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let args = ["build", "--profile", "dist", "--package", "whydrop"];
    // The file names in it are the same wherever it is built.
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let mut flags = STATIC.to_owned() + target.smaller;
    // Of several that match, rustc takes the last.
    for (path, name) in [
        (home, "/cargo"),
        (Some(run::workspace().to_owned()), "/whydrop"),
        (Some(directory), "/target"),
    ] {
        if let Some(path) = path {
            flags += &format!(" --remap-path-prefix={}={name}", path.display());
        }
    }
    let flags = [(target.flags, &*flags)];
    let environment = [&flags, environment].concat();
    let built = build_at(place, target, &args, &environment)?;
    let (_, path) = built.into_iter().next().context("cargo built nothing")?;
    Ok(path)
}

/// The program `whydrop` and the test executable `test`, as `cargo xtask test` builds and runs them.
pub(crate) fn of_tests(test: &str) -> Result<[PathBuf; 2]> {
    let output = run::cargo()
        .arg("build")
        .args(WORKSPACE)
        .args(["--all-targets", "--quiet"])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`cargo build` failed");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let path = |wanted: &str, tests: bool| {
        let mut built = messages
            .lines()
            .filter_map(|message| executable(message, tests));
        let found = built.find(|(name, _)| name == wanted);
        found
            .map(|(_, path)| path)
            .with_context(|| format!("cargo did not build {wanted}"))
    };
    Ok([path("whydrop", false)?, path(test, true)?])
}

/// Runs cargo, and returns the names and paths of the executables that it built.
pub(crate) fn build(
    target: &Target,
    args: &[&str],
    environment: &[(&str, &str)],
) -> Result<Vec<(String, PathBuf)>> {
    build_at(Place::Kept, target, args, environment)
}

fn build_at(
    place: Place,
    target: &Target,
    args: &[&str],
    environment: &[(&str, &str)],
) -> Result<Vec<(String, PathBuf)>> {
    let output = run::cargo()
        .args(args)
        .args(["--quiet", "--target", target.triple])
        .arg("--target-dir")
        .arg(place.directory())
        .arg("--message-format=json-render-diagnostics")
        .env(target.flags, STATIC)
        .envs(target.linker)
        // Twice the disk for builds that are rare.
        .env("CARGO_INCREMENTAL", "0")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("`cargo {}` failed, linking statically", args.join(" "));
    }
    let tests = args.first() == Some(&"test");
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages
        .lines()
        .filter_map(|message| executable(message, tests))
        .collect())
}

/// The name and path of the executable that a message of cargo's speaks of. With tests, cargo also
/// builds the programs of their package, which are not asked for.
fn executable(message: &str, tests: bool) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    let is_test = message.get("profile")?.get("test")?.as_bool()?;
    let kind = message.get("target")?.get("kind")?.get(0)?.as_str()?;
    let wanted = is_test == tests && (kind != "bin" || !tests);
    wanted.then(|| (name.to_owned(), Path::new(path).to_owned()))
}
