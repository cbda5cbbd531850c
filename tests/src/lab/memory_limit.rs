//! A control group that limits the memory of its processes, and what the kernel takes for them.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result};

/// A control group with a limit of its own.
pub struct MemoryLimit {
    path: PathBuf,
}

impl MemoryLimit {
    /// Makes the control group, by version 2 where that has the memory controller, else by version 1.
    pub fn of_bytes(limit: u64) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let second = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(second.join("cgroup.controllers")).unwrap_or_default();
        let (mount, file) = if controllers.split_whitespace().any(|name| name == "memory") {
            fs::write(second.join("cgroup.subtree_control"), "+memory")?;
            (second.to_owned(), "memory.max")
        } else {
            (second.join("memory"), "memory.limit_in_bytes")
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = mount.join(format!("wd-memory-{}-{number}", process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        let group = Self { path };
        fs::write(group.path.join(file), limit.to_string())?;
        Ok(group)
    }

    /// Whether this machine has limits of memory. Says so if it has not: the scenario is left out then.
    pub fn is_available() -> bool {
        let group = Self::of_bytes(1 << 30);
        if let Err(error) = &group {
            println!("left out: this machine has no control groups that limit memory: {error:#}");
        }
        group.is_ok()
    }

    /// The most memory that its processes and the kernel ever took for them at once, in bytes.
    pub fn peak(&self) -> Result<u64> {
        let files = ["memory.peak", "memory.max_usage_in_bytes"];
        let mut read = files
            .iter()
            .map(|file| fs::read_to_string(self.path.join(file)));
        let text = read
            .find_map(Result::ok)
            .context("no peak (memory.peak is of Linux 5.19)")?;
        Ok(text.trim().parse()?)
    }

    /// A command line that runs the command behind it in this group.
    pub fn runner(&self) -> [String; 4] {
        let join = "echo $$ > \"$0\" && exec \"$@\"".to_owned();
        let procs = self.path.join("cgroup.procs").display().to_string();
        ["sh".to_owned(), "-c".to_owned(), join, procs]
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}
