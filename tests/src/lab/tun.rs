//! Interfaces whose other end is a process.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsRawFd as _,
};

use anyhow::{Result, ensure};

/// Makes a tun or tap device in the namespace of this thread. It is gone when the file is closed. `flags`
/// are those of `TUNSETIFF`.
pub fn tun_device(name: &str, flags: libc::c_int) -> Result<File> {
    /// `TUNSETIFF` of include/uapi/linux/if_tun.h.
    const SET_INTERFACE: libc::c_ulong = 0x4004_54ca;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: all zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (flags | libc::IFF_NO_PI).try_into()?;
    // SAFETY: the kernel reads and writes a whole `ifreq`, which outlives the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), SET_INTERFACE, &raw mut request) };
    ensure!(result == 0, "{}", std::io::Error::last_os_error());
    Ok(file)
}
