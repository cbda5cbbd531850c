//! What a containerd leaves behind: mounts, cgroups and its directory.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{lab::output, poll_until};

/// How their directories and cgroups are called: then comes the process id of the test.
pub(super) const PREFIX: &str = "wd-containerd-";

/// Clears away what a containerd has left, once the last of its processes is gone.
pub(super) fn clear(directory: &Path, name: &str) -> Result<()> {
    poll_until("containerd's mounts to be free", || {
        unmounted(directory).then_some(())
    })?;
    poll_until("containerd's containers to end", || {
        remove_cgroups(name).ok()
    })?;
    fs::remove_dir_all(directory).with_context(|| directory.display().to_string())
}

/// Clears away what dead processes have left.
pub(super) fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
            // Another test process may be sweeping too.
            && let Err(error) = clear(&entry.path(), name)
        {
            eprintln!("cannot sweep up {name}: {error:#}");
        }
    }
}

/// The end of its log, for an error message.
pub(super) fn log(directory: &Path) -> String {
    let log = fs::read(directory.join("log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// Takes away all mounts at and below a directory, the last one first.
fn unmounted(directory: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|mount| Path::new(mount).starts_with(directory));
    let below: Vec<&str> = below.collect();
    below
        .iter()
        .rev()
        .all(|mount| output(Command::new("umount").arg(mount)).is_ok())
}

/// In version 2 there is one hierarchy, in version 1 there are several beside each other.
fn remove_cgroups(name: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root)?.flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([root.to_owned()]) {
        let cgroup = hierarchy.join(name);
        if cgroup.is_dir() {
            remove_cgroup(&cgroup)?;
        }
    }
    Ok(())
}

fn remove_cgroup(cgroup: &Path) -> Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    Ok(fs::remove_dir(cgroup)?)
}
