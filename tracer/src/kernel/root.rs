//! The root directory of the node, where this process has another: in a container.

use std::{
    ffi::CStr, fs, io, os::unix::fs::MetadataExt as _, os::unix::process::CommandExt as _,
    process::Command,
};

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
