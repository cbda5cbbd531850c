//! An address that a link has.

use std::net::IpAddr;

/// An address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Length of its subnet's prefix.
    pub prefix_len: u8,
    /// The link that has it.
    pub ifindex: u32,
    /// Where it holds (`RT_SCOPE_…`).
    pub scope: u8,
    /// What it is good for.
    pub flags: AddressFlags,
}

/// Flags of an address, as `ip address` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressFlags {
    /// Duplicate address detection has not finished: it is not in use yet.
    pub tentative: bool,
    /// Duplicate address detection found another holder: it is not in use.
    pub dadfailed: bool,
    /// In use although duplicate address detection goes on.
    pub optimistic: bool,
    /// Not chosen as a source any more.
    pub deprecated: bool,
    /// Not the first one of its subnet.
    pub secondary: bool,
}

impl AddressFlags {
    /// Whether packets to it are taken, and questions for it are answered.
    pub fn is_usable(self) -> bool {
        !self.dadfailed && (!self.tentative || self.optimistic)
    }
}

impl Address {
    /// Whether packets to this address are for the address's namespace: it is the address itself,
    /// or a neighbor in the subnet of an address on `lo`, which is local as a whole.
    pub fn covers(&self, wanted: IpAddr, is_loopback: bool) -> bool {
        if self.address == wanted {
            return true;
        }
        is_loopback
            && self.address.is_ipv4()
            && ipnet::IpNet::new(self.address, self.prefix_len)
                .is_ok_and(|subnet| subnet.contains(&wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
