//! Classifiers by TCX, which go with their links.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        tc::{SchedClassifierLink, TcAttachOptions, TcError},
    },
};

use crate::kernel::probes::table::{TC_EGRESS, TC_INGRESS};

/// Both programs, and their directions.
const PROGRAMS: [(&str, TcAttachType); 2] = [
    (TC_INGRESS, TcAttachType::Ingress),
    (TC_EGRESS, TcAttachType::Egress),
];

/// Attaches both classifiers by TCX.
pub(super) fn attach(ebpf: &mut Ebpf, ifindex: u32) -> io::Result<[SchedClassifierLink; 2]> {
    let name = current_name(ifindex)?;
    let mut one = |(program, direction)| -> Result<SchedClassifierLink, ProgramError> {
        let classifier = classifier(ebpf, program)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id = classifier.attach_with_options(&name, direction, options)?;
        classifier.take_link(id)
    };
    let [ingress, egress] = PROGRAMS;
    Ok([one(ingress).map_err(cause)?, one(egress).map_err(cause)?])
}

/// The name now: it may have changed since it was reported.
fn current_name(ifindex: u32) -> io::Result<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer is as long as if_indextoname(3) wants it.
    if unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
    name.to_str().map(str::to_owned).map_err(io::Error::other)
}

/// The system's error, if it is one.
fn cause(error: ProgramError) -> io::Error {
    match error {
        ProgramError::SyscallError(error) => error.io_error,
        ProgramError::TcError(TcError::IoError(error)) => error,
        other => io::Error::other(other),
    }
}

fn classifier<'a>(
    ebpf: &'a mut Ebpf,
    program: &str,
) -> Result<&'a mut SchedClassifier, ProgramError> {
    let found = ebpf.program_mut(program);
    found.ok_or(ProgramError::NotLoaded)?.try_into()
}

/// The descriptors of both classifiers.
///
/// # Errors
///
/// They are not loaded.
pub(super) fn fds(ebpf: &mut Ebpf) -> Result<[RawFd; 2]> {
    Ok([fd(ebpf, TC_INGRESS)?, fd(ebpf, TC_EGRESS)?])
}

fn fd(ebpf: &mut Ebpf, program: &str) -> Result<RawFd> {
    let classifier = classifier(ebpf, program);
    let fd = classifier
        .and_then(|classifier| classifier.fd())
        .with_context(|| format!("the program {program} is not loaded"))?;
    Ok(fd.as_fd().as_raw_fd())
}

/// There are two descriptors for each interface, and the usual limit is 1024.
pub(super) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid place to read from. A refusal shows when descriptors run out.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}
