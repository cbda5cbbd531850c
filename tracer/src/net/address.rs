//! Addresses that links have: `RTM_NEWADDR` and `RTM_DELADDR`.

use std::{io, net::IpAddr};

use ipnet::IpNet;

use super::{
    message::{Message, Request},
    netlink::{Listing, Rtnetlink},
};

/// Length of `struct ifaddrmsg`.
const FIXED: usize = 8;

/// `IFA_F_…` of include/uapi/linux/if_addr.h.
mod flag {
    pub(super) const SECONDARY: u32 = 0x01;
    pub(super) const OPTIMISTIC: u32 = 0x04;
    pub(super) const DADFAILED: u32 = 0x08;
    pub(super) const DEPRECATED: u32 = 0x20;
    pub(super) const TENTATIVE: u32 = 0x40;
}

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The address.
    pub(crate) address: IpAddr,
    /// Length of its subnet's prefix.
    pub(crate) prefix_len: u8,
    /// The link that has it.
    pub(crate) ifindex: u32,
    /// Where it holds (`RT_SCOPE_…`).
    pub(crate) scope: u8,
    /// What it is good for.
    pub(crate) flags: AddressFlags,
}

/// Flags of an address, as `ip address` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressFlags {
    /// Duplicate address detection has not finished: it is not in use yet.
    pub(crate) tentative: bool,
    /// Duplicate address detection found another holder: it is not in use.
    pub(crate) dadfailed: bool,
    /// In use although duplicate address detection goes on.
    pub(crate) optimistic: bool,
    /// Not chosen as a source any more.
    pub(crate) deprecated: bool,
    /// Not the first one of its subnet.
    pub(crate) secondary: bool,
}

impl AddressFlags {
    /// Whether packets to it are taken, and questions for it are answered.
    pub(crate) fn is_usable(self) -> bool {
        !self.dadfailed && (!self.tentative || self.optimistic)
    }
}

impl Address {
    /// Its subnet; `None` where the kernel's answer is malformed.
    pub(crate) fn subnet(&self) -> Option<IpNet> {
        IpNet::new(self.address, self.prefix_len).ok()
    }

    /// Whether an address is in its subnet.
    pub(crate) fn is_in_subnet_with(&self, other: IpAddr) -> bool {
        self.subnet().is_some_and(|subnet| subnet.contains(&other))
    }

    /// Whether packets to this address are for the address's namespace: it is the address itself,
    /// or a neighbor in the subnet of an address on `lo`, which is local as a whole.
    pub(crate) fn covers(&self, wanted: IpAddr, is_loopback: bool) -> bool {
        if self.address == wanted {
            return true;
        }
        is_loopback && self.address.is_ipv4() && self.is_in_subnet_with(wanted)
    }
}

/// What a message says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressEvent {
    Present(Address),
    Gone(Address),
}

impl Rtnetlink {
    /// All own addresses, of both versions.
    pub(crate) fn addresses(&self) -> io::Result<Vec<Address>> {
        self.0.dump(&all(), address)
    }

    /// All addresses, for an inventory that also follows changes.
    pub(super) fn address_listing(&self) -> io::Result<Listing<AddressEvent>> {
        self.0.listing(&all(), event)
    }
}

fn all() -> Request {
    Request::new(libc::RTM_GETADDR, &[0; FIXED])
}

/// Reads a message about an address.
pub(super) fn event(message: &Message<'_>) -> Option<AddressEvent> {
    match message.kind {
        libc::RTM_NEWADDR => address(message).map(AddressEvent::Present),
        libc::RTM_DELADDR => address(message).map(AddressEvent::Gone),
        _ => None,
    }
}

fn address(message: &Message<'_>) -> Option<Address> {
    let [_, prefix_len, few_flags, scope, ..] = *message.payload else {
        return None;
    };
    let all = message.attributes(FIXED);
    // On a point-to-point link, IFA_ADDRESS is the other end's.
    let address = all.address(libc::IFA_LOCAL);
    let flags = all.u32(libc::IFA_FLAGS).unwrap_or(few_flags.into());
    let has = |flag| flags & flag != 0;
    let address = address.or_else(|| all.address(libc::IFA_ADDRESS))?;
    Some(Address {
        address,
        prefix_len,
        ifindex: message.u32_at(4)?,
        scope,
        flags: AddressFlags {
            tentative: has(flag::TENTATIVE),
            dadfailed: has(flag::DADFAILED),
            optimistic: has(flag::OPTIMISTIC),
            deprecated: has(flag::DEPRECATED),
            // For IPv6, the same bit says that it is a temporary one.
            secondary: has(flag::SECONDARY) && address.is_ipv4(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_from_the_long_field() {
        let request = Request::new(libc::RTM_NEWADDR, &[10, 64, 0, 0, 5, 0, 0, 0])
            .with_address(libc::IFA_ADDRESS, "fd00::1".parse().unwrap())
            .with_u32(libc::IFA_FLAGS, Some(flag::TENTATIVE | flag::DADFAILED));
        let found = address(&request.message()).unwrap();
        assert!(found.flags.tentative && found.flags.dadfailed);
        assert_eq!((found.ifindex, found.prefix_len), (5, 64));
        let v4 = Request::new(libc::RTM_NEWADDR, &[2, 24, 1, 0, 5, 0, 0, 0])
            .with_address(libc::IFA_ADDRESS, "10.0.0.2".parse().unwrap())
            .with_address(libc::IFA_LOCAL, "10.0.0.1".parse().unwrap());
        let found = address(&v4.message()).unwrap();
        assert_eq!(found.address, IpAddr::from([10, 0, 0, 1]));
        assert!(found.flags.secondary && !found.flags.tentative);
    }

    #[test]
    fn a_subnet_is_local_on_loopback_only() {
        let local = Address {
            address: "127.0.0.1".parse().unwrap(),
            prefix_len: 8,
            ifindex: 1,
            scope: 254,
            flags: AddressFlags::default(),
        };
        let other = "127.7.7.7".parse().unwrap();
        assert!(local.covers(other, true) && !local.covers(other, false));
        assert!(!local.covers("128.0.0.1".parse().unwrap(), true));
        assert!(!local.covers("::1".parse().unwrap(), true));
    }

    #[test]
    fn an_address_under_detection_is_not_in_use() {
        let flags = |tentative, dadfailed, optimistic| AddressFlags {
            tentative,
            dadfailed,
            optimistic,
            ..AddressFlags::default()
        };
        assert!(flags(false, false, false).is_usable());
        assert!(!flags(true, false, false).is_usable());
        assert!(flags(true, false, true).is_usable());
        assert!(!flags(true, true, true).is_usable());
    }
}
