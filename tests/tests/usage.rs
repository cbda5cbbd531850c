//! Wrong usage and failures: a clear message, the right status, nothing on stdout.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Output},
};

use anyhow::{Result, ensure};
use whydrop_tests::{UNPRIVILEGED, binary, tracer::run_to_end};

const FAILED: i32 = 1;
const WRONG_USAGE: i32 = 2;

fn expect(output: &Output, status: i32, words: &[&str]) -> Result<()> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(status),
        "{} instead of status {status}: {stderr}",
        output.status
    );
    for word in words {
        ensure!(stderr.contains(word), "no {word:?} in: {stderr}");
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    ensure!(stdout.is_empty(), "on stdout: {stdout}");
    Ok(())
}

fn refuses(arguments: &[&str], status: i32, words: &[&str]) -> Result<()> {
    let output = run_to_end(Command::new(binary()).args(["-o", "json"]).args(arguments))?;
    expect(&output, status, words)
}

#[test]
fn neither_a_filter_nor_all() -> Result<()> {
    refuses(&[], WRONG_USAGE, &["--all"])
}

#[test]
fn wrong_endpoints() -> Result<()> {
    for endpoint in [
        "10.244.3.300",
        "10.244.3.17:99999",
        "10.244.0.0/40",
        "[fd00::7:443",
        "a/b/c/d",
        "",
    ] {
        refuses(&[endpoint], WRONG_USAGE, &[endpoint])?;
        refuses(&["--from", endpoint], WRONG_USAGE, &[endpoint])?;
    }
    Ok(())
}

#[test]
fn a_kubeconfig_that_is_of_no_use() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let empty = directory.path().join("empty");
    fs::write(&empty, "")?;
    let empty = empty.to_string_lossy();
    for (file, words) in [
        ("/no/such", ["/no/such: it cannot be read", "--no-kube"]),
        (&*empty, ["it has no current-context", "--no-kube"]),
    ] {
        refuses(&["--all", "--kubeconfig", file], FAILED, &words)?;
    }
    Ok(())
}

#[test]
fn wrong_values_of_options() -> Result<()> {
    refuses(&["--all", "--proto", "sctpp"], WRONG_USAGE, &["sctpp"])?;
    refuses(&["--all", "--duration", "soon"], WRONG_USAGE, &["soon"])?;
    refuses(&["--all", "--count", "many"], WRONG_USAGE, &["many"])?;
    refuses(
        &["--all", "--no-such-option"],
        WRONG_USAGE,
        &["--no-such-option"],
    )
}

#[test]
fn unknown_network_namespace() -> Result<()> {
    refuses(
        &["--all", "--netns", "no-such-netns"],
        FAILED,
        &["no-such-netns"],
    )?;
    refuses(
        &["--all", "--netns", "/no/such/path"],
        FAILED,
        &["/no/such/path"],
    )?;
    // A file, but not a namespace.
    refuses(
        &["--all", "--netns", "/proc/self/status"],
        FAILED,
        &["/proc/self/status"],
    )
}

#[test]
fn without_root() -> Result<()> {
    // The user may have no access to where the binary was built.
    let directory = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()?;
    let copy = directory.path().join("whydrop");
    fs::copy(binary(), &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(&copy);
    command
        .args(["-o", "json", "--all"])
        .current_dir("/")
        .uid(UNPRIVILEGED)
        .gid(UNPRIVILEGED);
    expect(&run_to_end(&mut command)?, FAILED, &["root"])
}
