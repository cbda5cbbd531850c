//! The root file system of a machine, all in memory.

use std::{
    collections::BTreeSet,
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{cpio::Archive, kernels::Kernel};
use crate::{run, setup};

/// Where the payload is inside.
pub(super) const PAYLOAD: &str = "payload";

/// Debian has one tree of programs and libraries; what is not below `usr` only links to it.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Modules that go along: what networks are made of, and what that needs. Which of them are loaded
/// is for the kernel to ask.
const MODULE_DIRECTORIES: [&str; 5] = ["net", "lib", "crypto", "arch/x86/crypto", "drivers/net"];

/// What `init.sh` takes from busybox, and the tests' `true`.
const APPLETS: [&str; 7] = ["cat", "mount", "poweroff", "sed", "stty", "sync", "true"];

/// What the labs' tools go by besides, as far as it is here.
const OTHER_NAMES: [&str; 9] = [
    "iptables",
    "ip6tables",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "iptables-nft",
    "ip6tables-nft",
    "iptables-nft-restore",
    "iptables-nft-save",
    "ip6tables-nft-save",
];

/// Writes the archive that the kernel starts with. `payload` are executables, with their names
/// inside.
pub(super) fn write(
    to: &Path,
    kernel: &Kernel,
    payload: &[(&str, &Path)],
    command: &str,
) -> Result<()> {
    let mut archive = Archive::create(to)?;
    for directory in MERGED {
        archive.symlink(directory, &format!("usr/{directory}"))?;
    }
    for directory in ["dev", "proc", "sys", "run", "tmp", "root", "usr/lib64"] {
        archive.directory(directory)?;
    }
    archive.symlink("var/run", "/run")?;
    archive.file("init", include_bytes!("init.sh"))?;
    archive.file("command", command.as_bytes())?;
    for (name, path) in payload {
        archive.copy(&format!("{PAYLOAD}/{name}"), path)?;
    }
    let programs = payload.iter().map(|(_, path)| path.to_path_buf());
    tools(&mut archive, programs.collect())?;
    modules(&mut archive, kernel)?;
    archive.finish()
}

/// What the labs are made with, from this machine, and every library that it and the payload take.
fn tools(archive: &mut Archive, payload: Vec<PathBuf>) -> Result<()> {
    let busybox = run::find("busybox").context("busybox is not installed")?;
    let mut objects = vec![busybox];
    for name in setup::lab_tools() {
        let path = run::find(name).with_context(|| format!("{name} is not installed"))?;
        objects.push(path);
    }
    objects.extend(OTHER_NAMES.into_iter().filter_map(run::find));
    for object in &objects {
        let name = file_name(object)?;
        archive.copy(&format!("usr/sbin/{name}"), object)?;
    }
    // Not busybox's: that one would run its own `ip` in the tests' scripts.
    let shell = run::find("sh").context("there is no shell")?;
    archive.copy("usr/bin/sh", &shell)?;
    objects.push(shell);
    for applet in APPLETS {
        archive.symlink(&format!("usr/bin/{applet}"), "/usr/sbin/busybox")?;
    }
    // iptables loads a library for each kind of match.
    let multiarch = Path::new("/usr/lib").join(format!("{ARCH}-linux-gnu"));
    for extension in entries(&multiarch.join("xtables"))? {
        archive.copy(&inside(&extension)?, &extension)?;
        objects.push(extension);
    }
    objects.extend(payload);
    for library in libraries(&objects)? {
        archive.copy(&inside(&library)?, &library)?;
    }
    Ok(())
}

/// Every library that these programs and libraries are linked with, and the loader.
fn libraries(objects: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    // Fails for those that are static, which need nothing.
    let output = Command::new("ldd")
        .args(objects)
        .env("LC_ALL", "C")
        .output()
        .context("cannot run ldd")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = listing.lines().find(|line| line.contains("not found")) {
        bail!("a library is missing: {}", missing.trim());
    }
    // `libc.so.6 => /lib/…/libc.so.6 (0x…)`, or the loader's path alone. A program's own line ends
    // with a colon.
    Ok(listing
        .lines()
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect())
}

/// The kernel's modules, with their dependencies written down for `modprobe`.
fn modules(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let release = &kernel.release;
    let from = kernel.modules();
    let to = format!("usr/lib/modules/{release}");
    // Not in Debian's packages: they are made when a package is installed.
    if !from.join("modules.dep.bin").exists() {
        let depmod = run::find("depmod").context("depmod is not installed")?;
        run::run(
            Command::new(depmod)
                .arg("-b")
                .args([kernel.root(), Path::new(release)]),
        )?;
    }
    for entry in entries(&from)? {
        if entry.is_file() {
            archive.copy(&format!("{to}/{}", file_name(&entry)?), &entry)?;
        }
    }
    let kernel_modules = from.join("kernel");
    for directory in MODULE_DIRECTORIES {
        walk(&kernel_modules.join(directory), &mut |path| {
            let inside = path.strip_prefix(&from)?.to_string_lossy();
            archive.copy(&format!("{to}/{inside}"), path)
        })?;
    }
    Ok(())
}

/// Visits every file below a directory, of which there may be none.
fn walk(path: &Path, visit: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    if path.is_file() {
        return visit(path);
    }
    if path.is_dir() {
        for entry in entries(path)? {
            walk(&entry, visit)?;
        }
    }
    Ok(())
}

/// What is in a directory, in order.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>();
    let mut entries = entries?;
    entries.sort();
    Ok(entries)
}

/// Where a library of this machine belongs in the archive.
fn inside(path: &Path) -> Result<String> {
    let path = path.to_str().context("a library's path is text")?;
    let path = path.trim_start_matches('/');
    Ok(if path.starts_with("usr/") {
        path.to_owned()
    } else {
        format!("usr/{path}")
    })
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} has no name", path.display()))
}
