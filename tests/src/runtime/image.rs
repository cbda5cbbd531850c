//! The image of a container: busybox, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::lab::output;

const BUSYBOX: &str = "/bin/busybox";

/// Builds it in a directory, as `docker save` writes images.
pub(super) fn build(directory: &Path, name: &str) -> Result<PathBuf> {
    let root = directory.join("image");
    fs::create_dir_all(root.join("layer/bin"))?;
    fs::copy(BUSYBOX, root.join("layer/bin/busybox"))
        .with_context(|| format!("cannot copy {BUSYBOX}"))?;
    tar(&root.join("layer.tar"), &root.join("layer"))?;
    let sum = output(Command::new("sha256sum").arg(root.join("layer.tar")))?;
    let sum = sum.split_whitespace().next().unwrap_or_default();
    let config = serde_json::json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Cmd": FOREVER},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
    });
    let manifest = serde_json::json!([{
        "Config": "config.json",
        "RepoTags": [name],
        "Layers": ["layer.tar"],
    }]);
    fs::write(root.join("config.json"), config.to_string())?;
    fs::write(root.join("manifest.json"), manifest.to_string())?;
    fs::remove_dir_all(root.join("layer"))?;
    let archive = directory.join("image.tar");
    tar(&archive, &root)?;
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
