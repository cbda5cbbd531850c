//! The addresses of a random network, in either family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::plan::Attached;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// An address of the wire between the nodes.
    pub(super) fn on_wire(self, node: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 60, 0, node).into(),
            Self::V6 => Ipv6Addr::new(0xfd60, 0, 0, 0, 0, 0, 0, node.into()).into(),
        }
    }

    /// An address of a node's bridge.
    pub(super) fn on_bridge(self, node: u8, host: u8) -> IpAddr {
        self.of_node(node, 1, host)
    }

    /// The address of a pod.
    pub(super) fn pod(self, node: u8, attached: Attached, number: u8) -> IpAddr {
        let net = match attached {
            Attached::Bridge | Attached::Macvlan => 1,
            Attached::Route => 2,
        };
        self.of_node(node, net, 10 + number)
    }

    fn of_node(self, node: u8, net: u8, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 60 + node, net, host).into(),
            Self::V6 => {
                let (node, net) = (0xfd60 + u16::from(node), net.into());
                Ipv6Addr::new(node, net, 0, 0, 0, 0, 0, host.into()).into()
            }
        }
    }

    /// All pods of a node.
    pub(super) fn pods(self, node: u8) -> String {
        match self {
            Self::V4 => format!("10.{}.0.0/16", 60 + node),
            Self::V6 => format!("fd{}::/16", 60 + node),
        }
    }

    /// The address of a Service.
    pub(super) fn service(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 96, 0, 1).into(),
            Self::V6 => Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// An address that is reached by the way out.
    pub(super) fn outside(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(198, 51, 100, 7).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 51, 0, 0, 0, 0, 7).into(),
        }
    }

    /// The first node's own address at the way out, with its length.
    pub(super) fn at_way_out(self) -> &'static str {
        match self {
            Self::V4 => "192.0.2.1/24",
            Self::V6 => "2001:db8:192::1/64",
        }
    }

    /// The gateway of a routed pod.
    pub(super) fn gateway(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(169, 254, 1, 1).into(),
            Self::V6 => Ipv6Addr::new(0xfd69, 0, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// Bits of an address.
    pub(super) fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// Bits of a network that hosts share.
    pub(super) fn shared_bits(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }

    /// What ip(8) is to work on.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// nftables' word, for tables and for matches.
    pub(super) fn nft(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// The directory of settings below `/proc/sys/net`.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// A node's setting that it forwards.
    pub(super) fn forwarding(self) -> &'static str {
        match self {
            Self::V4 => "ipv4/ip_forward",
            Self::V6 => "ipv6/conf/all/forwarding",
        }
    }
}
