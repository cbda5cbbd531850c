//! The root directory of the node, where this process has another: in a container.

use std::{
    ffi::CStr,
    fs, io,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether the first process is taken for the node's in any PID namespace.
static IS_TRUSTED: AtomicBool = AtomicBool::new(false);

/// That of the first process, in the PID namespace of the node.
const FIRST: &CStr = c"/proc/1/root";

/// Whether the first process has another root than this one. If that cannot be found out, it is taken to
/// have the same.
pub(crate) fn is_elsewhere() -> bool {
    let first = FIRST.to_str().unwrap_or_default();
    match (fs::metadata(format!("{first}/.")), fs::metadata("/")) {
        (Ok(first), Ok(own)) => (first.dev(), first.ino()) != (own.dev(), own.ino()),
        _ => false,
    }
}

/// Takes the first process of this PID namespace for the node's, as its user says that it is.
pub(crate) fn trust_first_process() {
    IS_TRUSTED.store(true, Ordering::Relaxed);
}

/// Whether this process has another root than the node's, and the first process has the node's. In a PID
/// namespace of its own, that process may be an application's: what is in its root is not to be run.
pub(crate) fn is_nodes() -> bool {
    // `PROC_PID_INIT_INO` of include/linux/proc_ns.h.
    const INITIAL: u64 = 0xeffffffc;
    let namespace = fs::metadata("/proc/self/ns/pid").map(|file| file.ino());
    let is_initial = namespace.is_ok_and(|inode| inode == INITIAL);
    is_elsewhere() && (is_initial || IS_TRUSTED.load(Ordering::Relaxed))
}

/// Has a program run with the node's root: it is found there, with its libraries. Its namespaces are those
/// of the thread that starts it. That takes `CAP_SYS_CHROOT`.
pub(crate) fn run_there(command: &mut Command) {
    let enter = || {
        // SAFETY: the paths are strings that end with a null byte; both calls do nothing else to memory.
        let entered =
            unsafe { libc::chroot(FIRST.as_ptr()) == 0 && libc::chdir(c"/".as_ptr()) == 0 };
        match entered {
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec, it makes two system calls, and takes no lock and no memory.
    unsafe {
        command.pre_exec(enter);
    }
}
