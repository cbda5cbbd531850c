//! Reads own addresses: `RTM_NEWADDR` and `RTM_DELADDR`.

use std::net::IpAddr;

use super::netlink::{Message, Request, attributes, u32_at};

/// Length of `struct ifaddrmsg`.
const FIXED: usize = 8;

/// Asks for all addresses, of both versions.
pub(super) fn all() -> Request {
    Request::new(libc::RTM_GETADDR, 0, &[0; FIXED])
}

/// What a message says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
    /// Whether it has come, or gone.
    pub(super) present: bool,
}

/// Reads a message about an address.
pub(super) fn read(message: &Message<'_>) -> Option<Said> {
    let present = match message.kind {
        libc::RTM_NEWADDR => true,
        libc::RTM_DELADDR => false,
        _ => return None,
    };
    let (mut local, mut address) = (None, None);
    for (attribute, value) in attributes(message.payload.get(FIXED..)?) {
        match attribute {
            libc::IFA_LOCAL => local = ip(value),
            libc::IFA_ADDRESS => address = ip(value),
            _ => {}
        }
    }
    Some(Said {
        ifindex: u32_at(message.payload, 4)?,
        // On a point-to-point interface, IFA_ADDRESS is the other end's.
        address: local.or(address)?,
        present,
    })
}

/// An address of either version.
pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::from(octets));
    }
    Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?))
}
