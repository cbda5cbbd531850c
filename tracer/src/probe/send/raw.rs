//! Raw sockets: packets that are not fragmented, and what routers say of them.

use std::{
    io::{self, IoSliceMut},
    net::IpAddr,
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use socket2::Socket;

/// `ICMP_DEST_UNREACH` with `ICMP_FRAG_NEEDED`, and `ICMPV6_PKT_TOOBIG`.
const TOO_BIG: [(u8, Option<u8>); 2] = [(3, Some(4)), (2, None)];

/// The next "fragmentation needed": who has sent it, the MTU, and the first bytes of the transport header
/// that it quotes.
pub(super) fn read_error(socket: &Socket) -> Option<(IpAddr, u32, [u8; 8])> {
    loop {
        let mut data = [0; 64];
        let mut slices = [IoSliceMut::new(&mut data)];
        let mut space = nix::cmsg_space!([u8; 64]);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let fd = socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(&mut space), flags).ok()?;
        let mut found = None;
        for control in message.cmsgs().ok()? {
            let (error, by): (_, Option<IpAddr>) = match control {
                ControlMessageOwned::Ipv4RecvErr(error, by) => (
                    error,
                    by.map(|by| IpAddr::from(u32::from_be(by.sin_addr.s_addr).to_be_bytes())),
                ),
                ControlMessageOwned::Ipv6RecvErr(error, by) => {
                    (error, by.map(|by| IpAddr::from(by.sin6_addr.s6_addr)))
                }
                _ => continue,
            };
            let is_too_big = TOO_BIG.iter().any(|(kind, code)| {
                error.ee_type == *kind && code.is_none_or(|code| error.ee_code == code)
            });
            // What the kernel itself says about the first link does not come from a router.
            let is_icmp = error.ee_origin == libc::SO_EE_ORIGIN_ICMP
                || error.ee_origin == libc::SO_EE_ORIGIN_ICMP6;
            if is_icmp && is_too_big {
                found = by.map(|by| (by, error.ee_info));
            }
        }
        let bytes = message.bytes;
        let quote = data.first_chunk::<8>().filter(|_| bytes >= 8);
        if let (Some((by, mtu)), Some(quote)) = (found, quote) {
            return Some((by, mtu, *quote));
        }
    }
}

/// Makes the socket send whole packets, whatever path MTU the kernel has learned, and report errors.
pub(super) fn whole(socket: &Socket, is_ipv4: bool) -> io::Result<()> {
    let set = |level, option, value: libc::c_int| {
        let size = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
        // SAFETY: the option takes an `int`, which lives until after the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    if is_ipv4 {
        set(
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        )?;
        set(libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    } else {
        set(
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )?;
        set(libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)?;
        set(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    }
}

/// The Internet checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or_default();
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
