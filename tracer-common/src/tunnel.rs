//! Tunnels: what a packet inside another one looks like, and what its headers cost.
//!
//! One table, at the end of this file, says all there is to know of each kind. A new kind is a new
//! row; only a header of its own needs code besides, in the parser.

use crate::packet::protocol::{GRE, IPIP, IPV6, UDP};

/// Length of an IPv4 header without options.
const IPV4: u32 = 20;
/// Length of an IPv6 header without extensions.
const IPV6_HEADER: u32 = 40;
const UDP_HEADER: u32 = 8;
const ETHERNET: u32 = 14;

/// Makes the enum and what is asked of it from the table. Matches, because the kernel programs need
/// comparisons with constants, not loops over memory.
macro_rules! tunnels {
    ($(
        $(#[$doc:meta])*
        $tunnel:ident {
            name: $name:literal,
            ports: [$($port:literal),*],
            over_ipv4: [$($over_ipv4:ident),*],
            over_ipv6: [$($over_ipv6:ident),*],
            headers: $headers:expr,
            links: [$($link:literal),*],
            functions: [$($function:literal),*],
        }
    )*) => {
        /// A way of carrying packets inside others.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Tunnel {
            $($(#[$doc])* $tunnel,)*
        }

        impl Tunnel {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$tunnel),*];

            /// Its name, as people write it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$tunnel => $name,)*
                }
            }

            /// UDP destination ports: the assigned one, and others that are in use.
            pub const fn ports(self) -> &'static [u16] {
                match self {
                    $(Self::$tunnel => &[$($port),*],)*
                }
            }

            /// Bytes of all headers between the outer IP header and the inner one, without options.
            const fn headers(self) -> u32 {
                match self {
                    $(Self::$tunnel => $headers,)*
                }
            }

            /// The kernel's names for links of this kind (`IFLA_INFO_KIND`).
            pub const fn link_kinds(self) -> &'static [&'static str] {
                match self {
                    $(Self::$tunnel => &[$($link),*],)*
                }
            }

            /// How the names of the kernel functions start that are only run for such tunnels, or
            /// for others like them.
            pub const fn functions(self) -> &'static [&'static str] {
                match self {
                    $(Self::$tunnel => &[$($function),*],)*
                }
            }

            /// Whether UDP datagrams to this port belong to it.
            #[inline(always)]
            pub const fn has_port(self, port: u16) -> bool {
                match self {
                    $(Self::$tunnel => false $(|| port == $port)*,)*
                }
            }

            /// The kind that a UDP datagram to this port belongs to.
            #[inline(always)]
            pub const fn of_port(port: u16) -> Option<Self> {
                match port {
                    $($($port => Some(Self::$tunnel),)*)*
                    _ => None,
                }
            }

            /// The kind that the payload of an IP packet with this protocol belongs to.
            #[inline(always)]
            pub const fn of_protocol(protocol: u8, is_ipv6: bool) -> Option<Self> {
                if is_ipv6 {
                    match protocol {
                        $($($over_ipv6 => Some(Self::$tunnel),)*)*
                        _ => None,
                    }
                } else {
                    match protocol {
                        $($($over_ipv4 => Some(Self::$tunnel),)*)*
                        _ => None,
                    }
                }
            }
        }
    };
}

impl Tunnel {
    /// The kind that an outer packet belongs to, by its protocol and destination port.
    pub fn of(protocol: u8, port: Option<u16>, is_ipv6: bool) -> Option<Self> {
        match port {
            Some(port) if protocol == UDP => Self::of_port(port),
            _ => Self::of_protocol(protocol, is_ipv6),
        }
    }

    /// The kind that a link belongs to, by the kernel's name for links of that kind.
    pub fn of_link(kind: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|tunnel| tunnel.link_kinds().contains(&kind))
    }

    /// Whether a kernel function is run for tunnels only.
    pub fn has_function(name: &str) -> bool {
        let mut prefixes = Self::ALL.iter().flat_map(|tunnel| tunnel.functions());
        prefixes.any(|prefix| name.starts_with(prefix))
    }

    /// Whether a packet inside it can be read: it is not encrypted.
    #[inline(always)]
    pub const fn is_readable(self) -> bool {
        !matches!(self, Self::Wireguard)
    }

    /// The kind that its packets look like: what GRE carries shows in its header only.
    pub const fn on_the_wire(self) -> Self {
        match self {
            Self::Gretap | Self::Erspan => Self::Gre,
            other => other,
        }
    }

    /// Bytes that it adds to each packet, over IPv4 or IPv6, without options.
    pub const fn overhead(self, over_ipv6: bool) -> u32 {
        self.headers() + if over_ipv6 { IPV6_HEADER } else { IPV4 }
    }
}

tunnels! {
    /// VXLAN: an Ethernet frame in UDP (RFC 7348). The second port is Linux' own from before one
    /// was assigned.
    Vxlan {
        name: "VXLAN",
        ports: [4789, 8472],
        over_ipv4: [],
        over_ipv6: [],
        headers: UDP_HEADER + 8 + ETHERNET,
        links: ["vxlan"],
        functions: ["vxlan_"],
    }
    /// Geneve: an Ethernet frame in UDP (RFC 8926).
    Geneve {
        name: "Geneve",
        ports: [6081],
        over_ipv4: [],
        over_ipv6: [],
        headers: UDP_HEADER + 8 + ETHERNET,
        links: ["geneve"],
        functions: ["geneve_"],
    }
    /// IPv4 directly in IPv4 (RFC 2003). The kernel has much of its code in common with GRE.
    Ipip {
        name: "IP-in-IP",
        ports: [],
        over_ipv4: [IPIP],
        over_ipv6: [],
        headers: 0,
        links: ["ipip"],
        functions: ["ipip_", "ip_tunnel_", "ip_md_tunnel_", "tunnel4_"],
    }
    /// IPv6 directly in IPv4 (RFC 4213).
    Sit {
        name: "SIT",
        ports: [],
        over_ipv4: [IPV6],
        over_ipv6: [],
        headers: 0,
        links: ["sit"],
        functions: ["sit_", "ipip6_", "tunnel64_"],
    }
    /// Either version of IP directly in IPv6 (RFC 2473).
    Ip6tnl {
        name: "IP-in-IPv6",
        ports: [],
        over_ipv4: [],
        over_ipv6: [IPIP, IPV6],
        headers: 0,
        links: ["ip6tnl"],
        functions: ["ip6_tnl_", "ip4ip6_", "ip6ip6_", "tunnel6_", "tunnel46_"],
    }
    /// IP in GRE (RFC 2784).
    Gre {
        name: "GRE",
        ports: [],
        over_ipv4: [GRE],
        over_ipv6: [GRE],
        headers: 4,
        links: ["gre", "ip6gre"],
        functions: ["gre_", "ipgre_", "ip6gre_"],
    }
    /// An Ethernet frame in GRE. On the wire, it is GRE.
    Gretap {
        name: "GRE",
        ports: [],
        over_ipv4: [],
        over_ipv6: [],
        headers: 4 + ETHERNET,
        links: ["gretap", "ip6gretap"],
        functions: [],
    }
    /// A mirrored Ethernet frame in GRE with a sequence number. On the wire, it is GRE.
    Erspan {
        name: "ERSPAN",
        ports: [],
        over_ipv4: [],
        over_ipv6: [],
        headers: 8 + 8 + ETHERNET,
        links: ["erspan", "ip6erspan"],
        functions: ["erspan_"],
    }
    /// WireGuard: encrypted, in UDP. A header of 16 bytes comes before the packet, a tag of 16
    /// after it. The port is what most configurations have.
    Wireguard {
        name: "WireGuard",
        ports: [51820],
        over_ipv4: [],
        over_ipv6: [],
        headers: UDP_HEADER + 16 + 16,
        links: ["wireguard"],
        functions: ["wg_"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overheads_are_those_of_the_standards() {
        for (tunnel, v4, v6) in [
            (Tunnel::Vxlan, 50, 70),
            (Tunnel::Geneve, 50, 70),
            (Tunnel::Ipip, 20, 40),
            (Tunnel::Gre, 24, 44),
            (Tunnel::Gretap, 38, 58),
            (Tunnel::Wireguard, 60, 80),
        ] {
            let overheads = [false, true].map(|over_ipv6| tunnel.overhead(over_ipv6));
            assert_eq!(overheads, [v4, v6], "{tunnel:?}");
        }
    }

    #[test]
    fn the_documented_overheads_are_these() {
        let page = include_str!("../../docs/overlays.md");
        for tunnel in Tunnel::ALL {
            let name = match tunnel {
                Tunnel::Gretap => "GRE with Ethernet",
                other => other.name(),
            };
            let [v4, v6] = [false, true].map(|over_ipv6| tunnel.overhead(over_ipv6));
            let row = format!("| {name} | {v4} | {v6} |");
            assert!(page.contains(&row), "docs/overlays.md has no row {row}");
        }
    }

    #[test]
    fn a_packet_or_a_link_belongs_to_one_kind() {
        let of = |protocol, port, is_ipv6| Tunnel::of(protocol, port, is_ipv6);
        for port in [4789, 8472] {
            assert_eq!(of(UDP, Some(port), false), Some(Tunnel::Vxlan));
        }
        assert_eq!(of(UDP, Some(6081), true), Some(Tunnel::Geneve));
        assert_eq!(of(UDP, Some(53), false), None);
        assert_eq!(of(6, Some(4789), false), None);
        assert_eq!(of(IPIP, None, false), Some(Tunnel::Ipip));
        assert_eq!(of(IPV6, None, false), Some(Tunnel::Sit));
        assert_eq!(of(IPV6, None, true), Some(Tunnel::Ip6tnl));
        assert_eq!(of(GRE, None, true), Some(Tunnel::Gre));
        assert_eq!(Tunnel::of_link("gretap"), Some(Tunnel::Gretap));
        assert_eq!(Tunnel::of_link("veth"), None);
    }

    #[test]
    fn no_port_and_no_link_is_in_two_rows() {
        let ports = Tunnel::ALL.iter().flat_map(|tunnel| tunnel.ports());
        let mut ports: Vec<_> = ports.collect();
        let links = Tunnel::ALL.iter().flat_map(|tunnel| tunnel.link_kinds());
        let mut links: Vec<_> = links.collect();
        let found = (ports.len(), links.len());
        ports.sort();
        ports.dedup();
        links.sort();
        links.dedup();
        assert_eq!((ports.len(), links.len()), found);
    }

    #[test]
    fn the_kernels_functions_are_known_by_how_they_start() {
        for name in [
            "vxlan_xmit_one",
            "ip_tunnel_xmit",
            "tunnel4_rcv",
            "tunnel64_rcv",
            "wg_xmit",
            "gre_rcv",
        ] {
            assert!(Tunnel::has_function(name), "{name}");
        }
        for name in ["ip_rcv_core", "tun_net_xmit"] {
            assert!(!Tunnel::has_function(name), "{name}");
        }
    }
}
