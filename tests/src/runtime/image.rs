//! The image of a container: busybox, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{binary, lab::output};

const BUSYBOX: &str = "/bin/busybox";

/// Builds it in a directory, as `docker save` writes images.
pub(super) fn build(directory: &Path, name: &str) -> Result<PathBuf> {
    let files = [(PathBuf::from(BUSYBOX), "bin/busybox".to_owned())];
    build_of(directory, name, &files, &json!({"Cmd": FOREVER}))
}

/// One with the program under test as a release has it, and with the libraries that this build needs.
pub(super) fn build_whydrop(directory: &Path, name: &str) -> Result<PathBuf> {
    let mut files = vec![(binary().to_owned(), "whydrop".to_owned())];
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the interpreter without an arrow. A static
    // program has none, and ldd fails.
    let libraries = output(Command::new("ldd").arg(binary())).unwrap_or_default();
    for word in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        files.push((word.into(), word.trim_start_matches('/').to_owned()));
    }
    build_of(
        directory,
        name,
        &files,
        &json!({"Entrypoint": ["/whydrop"]}),
    )
}

/// Builds an image of files, each with its path in there.
fn build_of(
    directory: &Path,
    name: &str,
    files: &[(PathBuf, String)],
    config: &Value,
) -> Result<PathBuf> {
    let root = directory.join("image");
    for (from, to) in files {
        let to = root.join("layer").join(to);
        fs::create_dir_all(to.parent().context("it has a directory")?)?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    tar(&root.join("layer.tar"), &root.join("layer"))?;
    let sum = output(Command::new("sha256sum").arg(root.join("layer.tar")))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
    });
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": [name],
        "Layers": ["layer.tar"],
    }]);
    fs::write(root.join("config.json"), config.to_string())?;
    fs::write(root.join("manifest.json"), manifest.to_string())?;
    fs::remove_dir_all(root.join("layer"))?;
    let archive = directory.join("image.tar");
    tar(&archive, &root)?;
    fs::remove_dir_all(root)?;
    Ok(archive)
}

/// What containers do.
pub(super) const FOREVER: [&str; 3] = ["/bin/busybox", "sleep", "1000000"];

fn tar(archive: &Path, directory: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--create", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(directory);
    for entry in fs::read_dir(directory)? {
        tar.arg(entry?.file_name());
    }
    output(&mut tar).map(drop)
}

/// As images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
