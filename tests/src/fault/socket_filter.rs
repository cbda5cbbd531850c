//! A filter on a socket (`SO_ATTACH_FILTER`) that lets nothing through.

use std::{io, os::fd::AsRawFd};

/// Makes the kernel drop whatever comes in for the socket.
pub fn refuse_all(socket: &impl AsRawFd) -> io::Result<()> {
    // `ret #0`: keep no byte of it.
    let mut program = [libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    let filter = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` and the instruction that it points to live until after the call, which
    // copies both.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            libc::socklen_t::try_from(size_of_val(&filter)).map_err(io::Error::other)?,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
