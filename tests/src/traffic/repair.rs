//! What only a TCP socket itself knows, by the repair mode that is there to move it elsewhere.

use std::{io, net::TcpStream, os::fd::AsRawFd as _};

/// The sequence numbers that a socket sends and expects next.
///
/// # Errors
///
/// The kernel refuses the repair mode.
pub fn numbers(socket: &TcpStream) -> io::Result<(u32, u32)> {
    const RECEIVED: i32 = 1;
    const SENT: i32 = 2;
    /// `TCP_REPAIR_OFF_NO_WP`
    const OFF: i32 = -1;
    let set = |option, value: i32| {
        // SAFETY: the kernel reads four bytes, which outlive the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                option,
                (&raw const value).cast(),
                4,
            )
        };
        (result == 0)
            .then_some(())
            .ok_or_else(io::Error::last_os_error)
    };
    let next = |queue| {
        set(libc::TCP_REPAIR_QUEUE, queue)?;
        let (mut number, mut length) = (0_u32, 4);
        // SAFETY: the kernel writes at most four bytes, which outlive the call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_QUEUE_SEQ,
                (&raw mut number).cast(),
                &raw mut length,
            )
        };
        (result == 0)
            .then_some(number)
            .ok_or_else(io::Error::last_os_error)
    };
    set(libc::TCP_REPAIR, 1)?;
    let found = (next(SENT)?, next(RECEIVED)?);
    set(libc::TCP_REPAIR, OFF)?;
    Ok(found)
}
