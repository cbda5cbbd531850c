//! Reads `RTM_NEWADDR`.

use crate::node::{
    rtnetlink::Message,
    world::address::{Address, AddressFlags},
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

/// Asks for all addresses, of both versions.
pub(super) fn all() -> Message {
    Message::new(libc::RTM_GETADDR, &[0; FIXED])
}

pub(super) fn read(message: &Message) -> Option<Address> {
    let [_, prefix_len, few_flags, scope, ..] = *message.bytes.as_slice() else {
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
        let message = Message::new(libc::RTM_NEWADDR, &[10, 64, 0, 0, 5, 0, 0, 0])
            .with_address(libc::IFA_ADDRESS, "fd00::1".parse().unwrap())
            .with_u32(libc::IFA_FLAGS, Some(flag::TENTATIVE | flag::DADFAILED));
        let found = read(&message).unwrap();
        assert!(found.flags.tentative && found.flags.dadfailed);
        assert_eq!((found.ifindex, found.prefix_len), (5, 64));
        let v4 = Message::new(libc::RTM_NEWADDR, &[2, 24, 1, 0, 5, 0, 0, 0])
            .with_address(libc::IFA_ADDRESS, "10.0.0.2".parse().unwrap())
            .with_address(libc::IFA_LOCAL, "10.0.0.1".parse().unwrap());
        let found = read(&v4).unwrap();
        assert_eq!(
            found.address,
            "10.0.0.1".parse::<std::net::IpAddr>().unwrap()
        );
        assert!(found.flags.secondary && !found.flags.tentative);
    }
}
