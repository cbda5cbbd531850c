//! Programs of control groups: what decides about the packets of a process's sockets.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use super::{Place, Program};
use crate::{
    kernel::probes::query::{self, Direction},
    net::netns::Inside,
};

/// Where version 2 is, alone or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
/// More groups than this are not asked about.
const MOST_GROUPS: usize = 512;

/// Those that packets of a namespace's sockets pass.
pub(super) fn read(inside: Inside) -> Result<Vec<Program>> {
    let at = [Direction::Ingress, Direction::Egress];
    let attached = at.map(|way| (way, query::cgroup_packets(way)));
    let place = |way: Direction, group: String| Place::Cgroup(way, group);
    programs(inside, groups(inside)?, &attached, place)
}

/// Those that decide about the connects of a process, or of any in its namespace.
pub(super) fn of_connects(inside: Inside, pid: u32, is_ipv4: bool) -> Result<Vec<Program>> {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
    let own = own.as_deref().and_then(group).map(str::to_owned);
    let groups = match own {
        Some(own) => BTreeSet::from([own]),
        None => groups(inside)?,
    };
    let attached = [((), query::cgroup_connects(is_ipv4))];
    programs(inside, groups, &attached, |(), group| Place::Connect(group))
}

/// The programs of these groups, with those of the groups above them. `attached` are the kinds that are
/// asked for, by the kernel's numbers.
fn programs<Way: Copy + PartialEq>(
    inside: Inside,
    groups: BTreeSet<String>,
    attached: &[(Way, u32)],
    place: impl Fn(Way, String) -> Place,
) -> Result<Vec<Program>> {
    let mount = MOUNTS
        .into_iter()
        .find(|mount| Path::new(mount).join("cgroup.procs").exists())
        .context("no control groups of version 2 are mounted")?;
    let mut found: Vec<(Way, u32, String)> = Vec::new();
    let mut failure = None;
    let mut readable = false;
    for group in groups {
        if Instant::now() >= inside.deadline {
            break;
        }
        let path = format!("{mount}{group}");
        for (way, attached) in attached {
            let ids = File::open(&path).and_then(|file| query::cgroup(file.as_fd(), *attached));
            match ids {
                Ok(ids) => {
                    readable = true;
                    for id in ids {
                        // Groups inherit: each program is reported once, with the first group.
                        let known = |one: &(Way, u32, _)| one.0 == *way && one.1 == id;
                        if !found.iter().any(known) {
                            found.push((*way, id, group.clone()));
                        }
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
    }
    if let Some(error) = failure.filter(|_| !readable) {
        return Err(error).context("the control groups of its processes cannot be read");
    }
    // To have found none means nothing if not all were looked at.
    ensure!(
        !found.is_empty() || Instant::now() < inside.deadline,
        "no time was left to look at the programs of all control groups"
    );
    let ids: Vec<_> = found.iter().map(|(_, id, _)| *id).collect();
    let loaded = query::by_id(&ids);
    let programs = found.into_iter().map(|(way, id, group)| {
        let program = loaded.iter().find(|program| program.id == id);
        Program::of(place(way, group), id, program)
    });
    Ok(programs.collect())
}

/// The groups of the processes in this network namespace.
fn groups(inside: Inside) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc").context("/proc")?.flatten() {
        if found.len() >= MOST_GROUPS || Instant::now() >= inside.deadline {
            break;
        }
        let is_inside = fs::metadata(process.path().join("ns/net"))
            .is_ok_and(|netns| netns.ino() == u64::from(inside.inode));
        if is_inside && let Ok(text) = fs::read_to_string(process.path().join("cgroup")) {
            found.extend(group(&text).map(str::to_owned));
        }
    }
    Ok(found)
}

/// The group of version 2 in `/proc/PID/cgroup`.
fn group(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    // The processes of a group that has gone.
    Some(path.strip_suffix(" (deleted)").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_version_2_is_taken() {
        let mixed = "5:memory:/a\n1:name=systemd:/b\n0::/kubepods/pod7/c\n";
        assert_eq!(group(mixed), Some("/kubepods/pod7/c"));
        assert_eq!(group("0::/\n"), Some("/"));
        assert_eq!(group("5:memory:/a\n"), None);
    }
}
