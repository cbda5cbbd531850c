//! Tiny kernel programs beside those under test, and what the kernel measures of both.

use std::{
    ffi::CStr,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
};

use crate::fault::bpf::{bpf, descriptor};
pub(crate) use crate::fault::bpf::{link, load};

/// Types of programs: `enum bpf_prog_type` of the kernel's UAPI.
pub mod program_type {
    #![allow(missing_docs, reason = "the names are the kernel's")]
    pub const SCHED_CLS: u32 = 3;
    pub const TRACEPOINT: u32 = 5;
    pub const RAW_TRACEPOINT: u32 = 17;
    pub const TRACING: u32 = 26;
}

/// Where a link leads: `enum bpf_attach_type` of the kernel's UAPI.
pub mod attach_type {
    #![allow(missing_docs, reason = "the names are the kernel's")]
    pub const TCX_INGRESS: u32 = 46;
    pub const TCX_EGRESS: u32 = 47;
}

const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const ENABLE_STATS: libc::c_long = 32;

/// The head of `union bpf_attr` for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    reserved: u32,
}

/// The head of `union bpf_attr` for `BPF_ENABLE_STATS`.
#[repr(C)]
struct EnableStats {
    stats_type: u32,
}

/// Attaches a raw tracepoint's program, as long as the link lives.
///
/// # Errors
///
/// The kernel refuses, or has no such tracepoint.
pub fn raw_tracepoint(program: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let mut attr = RawTracepointOpen {
        name: name.as_ptr() as u64,
        prog_fd: program.as_raw_fd().cast_unsigned(),
        reserved: 0,
    };
    // SAFETY: `attr` is the beginning of a `bpf_attr` for this command, and the name outlives the
    // call.
    descriptor(unsafe { bpf(RAW_TRACEPOINT_OPEN, &mut attr) }?)
}

/// Lets the kernel measure the time of every program's runs, as long as the descriptor is open.
///
/// # Errors
///
/// The kernel is older than 5.8, or refuses.
pub fn enable_stats() -> io::Result<OwnedFd> {
    // `BPF_STATS_RUN_TIME`
    let mut attr = EnableStats { stats_type: 0 };
    // SAFETY: `attr` is the beginning of a `bpf_attr` for this command, without pointers.
    descriptor(unsafe { bpf(ENABLE_STATS, &mut attr) }?)
}

/// What the kernel has measured of a program since its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramStats {
    /// The program's number.
    pub id: u32,
    /// One of [`program_type`].
    pub program_type: u32,
    /// Nanoseconds in all runs.
    pub nanoseconds: u64,
    /// Runs.
    pub runs: u64,
}

/// The programs that a process holds, and their times so far. Each once.
///
/// # Errors
///
/// There is no such process.
pub fn stats_of(pid: u32) -> io::Result<Vec<ProgramStats>> {
    let mut found: Vec<ProgramStats> = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Descriptors may come and go while we look.
        let info = fs::read_to_string(entry?.path()).unwrap_or_default();
        if let Some(stats) = parse(&info)
            && found.iter().all(|other| other.id != stats.id)
        {
            found.push(stats);
        }
    }
    Ok(found)
}

/// What `/proc/PID/fdinfo/FD` says of a program. Links lead to programs too, but have no times.
fn parse(info: &str) -> Option<ProgramStats> {
    let value = |key: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok())
    };
    Some(ProgramStats {
        id: value("prog_id:")?.try_into().ok()?,
        program_type: value("prog_type:")?.try_into().ok()?,
        nanoseconds: value("run_time_ns:")?,
        runs: value("run_cnt:")?,
    })
}

#[test]
fn a_program_has_times_and_a_link_has_none() {
    let program = "pos:\t0\nprog_type:\t26\nprog_id:\t7\nrun_time_ns:\t1200\nrun_cnt:\t30\n";
    let stats = parse(program).unwrap();
    assert_eq!((stats.id, stats.nanoseconds, stats.runs), (7, 1200, 30));
    assert_eq!(parse("link_type:\ttcx\nprog_id:\t7\nifindex:\t2\n"), None);
}
