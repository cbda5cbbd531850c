//! What rules ask of the host rather than of the packet.

use std::net::IpAddr;

/// What is known of the network namespace that the packet was in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host {
    /// The names of all its interfaces; empty where they are not known.
    pub(crate) devices: Vec<String>,
    /// What is known of addresses.
    pub(crate) addresses: Vec<Local>,
    /// All that are the host's own, or broadcast addresses, are among them.
    pub(crate) has_all_addresses: bool,
    /// Whether the source is routed back through the interface that the packet came in through.
    pub(crate) reverse_path: Option<bool>,
    /// Bridges hand frames of the packet's version to iptables (br_netfilter).
    pub(crate) bridge_calls_iptables: bool,
    /// The kernel has ebtables' own tables loaded, which are not read.
    pub(crate) has_ebtables: bool,
    /// Conntrack is not in use there: without an entry, a packet is not invalid for that.
    pub(crate) tracks_nothing: bool,
}

/// What an address is, or all addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    /// The network's address.
    pub(crate) address: IpAddr,
    /// How many bits of it count.
    pub(crate) bits: u8,
    /// What they are.
    pub(crate) kind: Kind,
}

/// What routes call an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The host's own.
    Local,
    /// All hosts of a network.
    Broadcast,
    /// A group.
    Multicast,
    /// One that packets are forwarded to.
    Unicast,
    /// Any other one: how it is routed is another question.
    Elsewhere,
}

impl Kind {
    /// The names that rules may have for it.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Local => &["local"],
            Self::Broadcast => &["broadcast"],
            Self::Multicast => &["multicast"],
            Self::Unicast => &["unicast"],
            Self::Elsewhere => &[
                "unicast",
                "blackhole",
                "unreachable",
                "prohibit",
                "throw",
                "nat",
                "unspec",
                "xresolve",
            ],
        }
    }
}

impl Host {
    /// What an address is; `None` where that is not known.
    pub(super) fn kind(&self, address: IpAddr) -> Option<Kind> {
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        match address {
            _ if address.is_multicast() => return Some(Kind::Multicast),
            _ if is_broadcast => return Some(Kind::Broadcast),
            _ => {}
        }
        let holds = self.addresses.iter();
        let holds = holds.filter(|local| local.holds(address));
        let narrowest = holds.max_by_key(|local| local.bits);
        let otherwise = self.has_all_addresses.then_some(Kind::Elsewhere);
        narrowest.map(|local| local.kind).or(otherwise)
    }
}

impl Local {
    fn holds(&self, address: IpAddr) -> bool {
        let shift = |width: u32| width.saturating_sub(self.bits.into());
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differs = u32::from(own) ^ u32::from(other);
                differs.checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differs = u128::from(own) ^ u128::from(other);
                differs.checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(address: &str, bits: u8, kind: Kind) -> Local {
        Local {
            address: address.parse().unwrap(),
            bits,
            kind,
        }
    }

    #[test]
    fn the_narrowest_entry_says_what_an_address_is() {
        let host = Host {
            addresses: vec![
                local("127.0.0.0", 8, Kind::Local),
                local("127.255.255.255", 32, Kind::Broadcast),
                local("10.0.0.1", 32, Kind::Local),
                local("fd00::1", 128, Kind::Local),
            ],
            has_all_addresses: true,
            ..Host::default()
        };
        let kind = |address: &str| host.kind(address.parse().unwrap());
        assert_eq!(kind("127.1.2.3"), Some(Kind::Local));
        assert_eq!(kind("127.255.255.255"), Some(Kind::Broadcast));
        assert_eq!(kind("10.0.0.1"), Some(Kind::Local));
        assert_eq!(kind("10.0.0.2"), Some(Kind::Elsewhere));
        assert_eq!(kind("224.0.0.1"), Some(Kind::Multicast));
        assert_eq!(kind("fd00::1"), Some(Kind::Local));
        assert_eq!(Host::default().kind("10.0.0.1".parse().unwrap()), None);
        let anything = local("0.0.0.0", 0, Kind::Local);
        assert!(anything.holds("203.0.113.9".parse().unwrap()));
    }
}
