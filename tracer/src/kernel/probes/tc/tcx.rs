//! Classifiers by TCX, which go with their links.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{ProgramError, SchedClassifier},
};

use crate::kernel::probes::table::{TC_EGRESS, TC_INGRESS};

/// The loaded classifiers, for any thread: coming in, going out.
pub(super) struct Classifiers(pub(super) [OwnedFd; 2]);

impl Classifiers {
    /// Those of these programs.
    ///
    /// # Errors
    ///
    /// They are not loaded.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self([fd(ebpf, TC_INGRESS)?, fd(ebpf, TC_EGRESS)?]))
    }
}

/// Attaches both classifiers by TCX, in front of all others. Dropped, the kernel detaches them.
pub(super) fn attach(classifiers: &Classifiers, ifindex: u32) -> io::Result<[OwnedFd; 2]> {
    // `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`
    const DIRECTIONS: [u32; 2] = [46, 47];
    let [ingress, egress] = &classifiers.0;
    Ok([
        link(ingress, ifindex, DIRECTIONS[0])?,
        link(egress, ifindex, DIRECTIONS[1])?,
    ])
}

/// aya attaches only what it owns, so only on the thread that has the programs.
fn link(program: &OwnedFd, ifindex: u32, attach_type: u32) -> io::Result<OwnedFd> {
    const LINK_CREATE: libc::c_long = 28;
    const BEFORE: u32 = 1 << 3;
    /// The part of `union bpf_attr` for this command.
    #[repr(C)]
    struct LinkCreate {
        program: u32,
        ifindex: u32,
        attach_type: u32,
        flags: u32,
        /// Before none in particular: before all.
        relative: u32,
        reserved: u32,
        expected_revision: u64,
    }
    let mut create = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        ifindex,
        attach_type,
        flags: BEFORE,
        relative: 0,
        reserved: 0,
        expected_revision: 0,
    };
    // SAFETY: the kernel reads `create`, whose size it gets, and which outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            LINK_CREATE,
            &raw mut create,
            size_of::<LinkCreate>(),
        )
    };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn fd(ebpf: &mut Ebpf, program: &str) -> Result<OwnedFd> {
    let found = ebpf.program_mut(program).ok_or(ProgramError::NotLoaded);
    let classifier: Result<&mut SchedClassifier, _> = found.and_then(TryInto::try_into);
    let classifier = classifier.with_context(|| format!("no program {program}"))?;
    let fd = classifier
        .fd()
        .with_context(|| format!("the program {program} is not loaded"))?;
    Ok(fd.as_fd().try_clone_to_owned()?)
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
