//! Running other programs: every failure says which program it was and what can be done.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Error, Result, anyhow, bail};

/// Lets cargo start what it has built as root; cargo itself stays an ordinary user's.
const AS_ROOT: [&str; 2] = ["--config", r#"target.'cfg(all())'.runner = ["sudo", "-E"]"#];

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Where a program is: in PATH, or in the system's directories, which an ordinary user's PATH
/// often lacks.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// The cargo that runs this xtask, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    // `cargo run` describes xtask to xtask by these. Build scripts that watch them, such as ring's,
    // would run again, and with them everything above would be built again.
    for (name, _) in env::vars_os() {
        let is_ours =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_ours) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// A cargo whose `run` and `test` start their programs as root.
pub(crate) fn cargo_for_root() -> Result<Command> {
    let mut cargo = cargo();
    if !is_root() {
        if find("sudo").is_none() {
            bail!(
                "network namespaces and kernel programs need root, and there is no sudo: run this \
                 as root"
            );
        }
        cargo.args(AS_ROOT);
    }
    Ok(cargo)
}

/// The workspace's root.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// A command that has root's rights, by sudo if need be; `None` where there is no way to them.
pub(crate) fn root_command(program: impl AsRef<OsStr>) -> Option<Command> {
    if is_root() {
        return Some(Command::new(program));
    }
    let mut command = Command::new(find("sudo")?);
    command.arg("-E").arg(program);
    Some(command)
}

/// Runs a command to its end without an input: nothing may wait for an answer. Its output goes
/// where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_interactive(command.stdin(Stdio::null()))
}

/// Runs a command to its end that a person may type into.
pub(crate) fn run_interactive(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|error| cannot_start(command, error))?;
    if !status.success() {
        bail!("`{}` failed ({status})", show(command));
    }
    Ok(())
}

/// Runs a program to its end, and returns what it prints.
///
/// # Errors
///
/// It cannot be started, fails, or prints no UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command
        .output()
        .map_err(|error| cannot_start(command, error))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", show(command), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Why a command did not start.
pub(crate) fn cannot_start(command: &Command, error: io::Error) -> Error {
    let shown = show(command);
    if error.kind() == io::ErrorKind::NotFound {
        let program = command.get_program().to_string_lossy();
        anyhow!("`{program}` is not installed or not in PATH (needed for `{shown}`)")
    } else {
        Error::new(error).context(format!("cannot run `{shown}`"))
    }
}

/// A command as one would type it, the program without its directory.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    [program]
        .into_iter()
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
