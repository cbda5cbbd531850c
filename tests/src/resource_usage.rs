//! The resources that a process uses.

use std::{collections::BTreeSet, fmt, fs};

use anyhow::{Context, Result};

/// What the kernel says of the descriptors of a process, one text each.
pub fn descriptors(pid: u32) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Descriptors may come and go while we look.
        all.push(fs::read_to_string(entry?.path()).unwrap_or_default());
    }
    Ok(all)
}

/// The value of a key in a text of `/proc`.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key))
        .map(str::trim)
}

/// The resources that a process uses.
#[derive(Debug, Clone)]
pub struct ResourceUsage {
    /// Open file descriptors.
    pub descriptors: usize,
    /// Memory in use (`VmRSS`), in KiB.
    pub resident: u64,
    /// Threads.
    pub threads: u64,
    /// The ids of its BPF links.
    pub links: BTreeSet<String>,
    /// Its BPF maps.
    pub maps: usize,
}

impl ResourceUsage {
    /// Of this process, now.
    pub fn of(pid: u32) -> Result<Self> {
        let all = descriptors(pid)?;
        let links = all.iter().filter_map(|info| value(info, "link_id:"));
        let maps = all.iter().filter_map(|info| value(info, "map_id:"));
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |key| -> Result<u64> {
            let found = value(&status, key).with_context(|| format!("no {key} of {pid}"))?;
            Ok(found.trim_end_matches(" kB").parse()?)
        };
        Ok(Self {
            descriptors: all.len(),
            resident: number("VmRSS:")?,
            threads: number("Threads:")?,
            links: links.map(str::to_owned).collect(),
            maps: maps.count(),
        })
    }
}

impl fmt::Display for ResourceUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            descriptors,
            resident,
            threads,
            links,
            maps,
        } = self;
        let links = links.len();
        write!(
            f,
            "{descriptors} descriptors, {threads} threads, {links} links, {maps} maps, {resident} \
             KiB resident"
        )
    }
}
