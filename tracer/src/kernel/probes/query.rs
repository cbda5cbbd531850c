//! Which programs others have attached: at an interface by TCX, and to control groups.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result};
use aya::{
    maps::MapInfo,
    programs::{
        ProgramError, ProgramInfo, SchedClassifier, TcAttachType, links::LinkType, loaded_links,
        loaded_programs,
    },
};

use super::table::{TC_EGRESS, TC_INGRESS};

/// A loaded program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadedProgram {
    /// Its number.
    pub(crate) id: u32,
    /// Its name, of which the kernel keeps 15 characters; may be empty.
    pub(crate) name: String,
    /// Whether it is whydrop's, of this or another process.
    pub(crate) is_ours: bool,
}

/// Which way packets go, seen from the kernel's core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Coming in.
    Ingress,
    /// Going out.
    Egress,
}

/// The programs at an interface by TCX, in the order in which they run. `None` if the kernel does
/// not have TCX (before 6.6). The interface is one of the namespace that this thread is in.
///
/// # Errors
///
/// The kernel refuses: there is no such interface, or no privilege.
pub(crate) fn tcx(ifname: &str, direction: Direction) -> Result<Option<Vec<LoadedProgram>>> {
    let direction = match direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    };
    match SchedClassifier::query_tcx(ifname, direction) {
        Ok((_, programs)) => Ok(Some(programs.iter().map(describe).collect())),
        Err(ProgramError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::EINVAL) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("cannot ask for programs at {ifname}")),
    }
}

/// The loaded programs with these numbers. What has gone meanwhile is left out.
pub(crate) fn by_id(wanted: &[u32]) -> Vec<LoadedProgram> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let all = loaded_programs().flatten();
    all.filter(|program| wanted.contains(&program.id()))
        .map(|program| describe(&program))
        .collect()
}

/// The links by which these programs are attached, wherever that is: the number of each, and that of
/// its program.
pub(crate) fn links_of(wanted: &[u32]) -> Vec<(u32, u32)> {
    if wanted.is_empty() {
        return Vec::new();
    }
    let all = loaded_links().flatten();
    all.filter(|link| wanted.contains(&link.program_id()))
        .map(|link| (link.id(), link.program_id()))
        .collect()
}

/// The programs at netfilter hooks, of all network namespaces.
pub(crate) fn at_netfilter() -> Vec<LoadedProgram> {
    let links = loaded_links().flatten();
    let ids: Vec<_> = links
        .filter(|link| matches!(link.link_type(), Ok(LinkType::Netfilter)))
        .map(|link| link.program_id())
        .collect();
    by_id(&ids)
}

/// What the kernel calls the programs that packets of a control group's sockets pass:
/// `BPF_CGROUP_INET_INGRESS`, `BPF_CGROUP_INET_EGRESS`.
pub(crate) fn cgroup_packets(direction: Direction) -> u32 {
    u32::from(direction == Direction::Egress)
}

/// What the kernel calls the programs that decide about connects: `BPF_CGROUP_INET4_CONNECT`,
/// `BPF_CGROUP_INET6_CONNECT`.
pub(crate) fn cgroup_connects(is_ipv4: bool) -> u32 {
    if is_ipv4 { 10 } else { 11 }
}

/// The numbers of the programs of a control group, attached as this, with those of the groups above it.
///
/// # Errors
///
/// The kernel refuses, as it does without privilege.
pub(crate) fn cgroup(group: BorrowedFd<'_>, attach_type: u32) -> io::Result<Vec<u32>> {
    const EFFECTIVE: u32 = 1;
    attached(group, attach_type, EFFECTIVE)
}

/// The numbers of the programs that choose the socket of a packet in a network namespace
/// (`BPF_SK_LOOKUP`).
///
/// # Errors
///
/// The kernel refuses, as it does without privilege.
pub(crate) fn socket_lookup(netns: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    const SK_LOOKUP: u32 = 36;
    attached(netns, SK_LOOKUP, 0)
}

/// The numbers of the programs that are attached somewhere.
fn attached(target: BorrowedFd<'_>, attach_type: u32, query_flags: u32) -> io::Result<Vec<u32>> {
    // `BPF_PROG_QUERY`, which aya has not for these types.
    const PROG_QUERY: libc::c_long = 16;
    const MOST: usize = 64;
    /// The part of `union bpf_attr` for this command, as far as it is used.
    #[repr(C)]
    struct Query {
        target: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        reserved: u32,
    }
    let mut ids = [0_u32; MOST];
    let mut query = Query {
        target: target.as_raw_fd().cast_unsigned(),
        attach_type,
        query_flags,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: MOST as u32,
        reserved: 0,
    };
    // SAFETY: the kernel reads and writes `query`, whose size it gets, and writes at most
    // `count` numbers to `ids`; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_QUERY,
            &raw mut query,
            size_of::<Query>(),
        )
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        // More than there is room for: the first ones are there all the same.
        if error.raw_os_error() != Some(libc::ENOSPC) {
            return Err(error);
        }
    }
    let count = usize::try_from(query.count).unwrap_or(MOST).min(MOST);
    Ok(ids[..count].to_vec())
}

fn describe(program: &ProgramInfo) -> LoadedProgram {
    let name = program.name_as_str().unwrap_or_default().to_owned();
    LoadedProgram {
        id: program.id(),
        is_ours: [TC_INGRESS, TC_EGRESS].contains(&name.as_str()) && has_our_maps(program),
        name,
    }
}

/// The names of the programs alone are nothing special.
fn has_our_maps(program: &ProgramInfo) -> bool {
    let ids = program.map_ids().ok().flatten().unwrap_or_default();
    let names: Vec<_> = ids
        .into_iter()
        .filter_map(|id| MapInfo::from_id(id).ok())
        .filter_map(|map| map.name_as_str().map(str::to_owned))
        .collect();
    ["EVENTS", "HANDSHAKES"]
        .iter()
        .all(|ours| names.iter().any(|name| name == ours))
}
