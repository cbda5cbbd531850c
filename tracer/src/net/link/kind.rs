//! What an interface is.

use std::{fmt, net::IpAddr};

use tracer_common::tunnel::Tunnel;

/// What an interface is, with what that kind is set up with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A device with a driver: a NIC, virtio, an SR-IOV function.
    #[default]
    Physical,
    /// `lo`
    Loopback,
    /// One end of a pair, mostly a pod's.
    Veth,
    /// One end of a pair that runs BPF programs (Cilium).
    Netkit,
    /// A bridge: see [`super::Link::master`] of its members.
    Bridge(Bridge),
    /// VXLAN tunnel.
    Vxlan(Vxlan),
    /// Geneve tunnel.
    Geneve(Geneve),
    /// Any other tunnel that the kernel does not encrypt: IP in IP, GRE and their like.
    IpTunnel(IpTunnel),
    /// Tun or tap: a process is at the other end.
    Tun {
        /// Whether packets have a `struct virtio_net_hdr`, with which the process takes segments
        /// that are larger than the MTU.
        vnet_hdr: bool,
    },
    /// 802.1Q or 802.1ad on another interface.
    Vlan {
        /// The VLAN's number.
        id: u16,
    },
    /// Another MAC address on an interface.
    Macvlan(MacvlanMode),
    /// Other IP addresses on an interface.
    Ipvlan,
    /// Several interfaces as one.
    Bond,
    /// Interfaces with a routing table of their own.
    Vrf {
        /// That table.
        table: u32,
    },
    /// WireGuard, which encrypts.
    Wireguard,
    /// Takes every packet and forgets it; mostly carries addresses.
    Dummy,
    /// Any other, by the kernel's name for it.
    Other(String),
}

impl Kind {
    /// Whether a process is at its other end.
    pub(crate) fn is_tun(&self) -> bool {
        matches!(self, Self::Tun { .. })
    }

    /// The kernel's name for it; empty for what has none.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Physical | Self::Loopback => "",
            Self::Veth => "veth",
            Self::Netkit => "netkit",
            Self::Bridge(_) => "bridge",
            Self::Vxlan(_) => "vxlan",
            Self::Geneve(_) => "geneve",
            Self::IpTunnel(tunnel) => tunnel.kind,
            Self::Tun { .. } => "tun",
            Self::Vlan { .. } => "vlan",
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Bond => "bond",
            Self::Vrf { .. } => "vrf",
            Self::Wireguard => "wireguard",
            Self::Dummy => "dummy",
            Self::Other(name) => name,
        }
    }

    /// The kind of tunnel that it is, if it is one.
    pub(crate) fn tunnel(&self) -> Option<Tunnel> {
        match self {
            Self::Vxlan(_) => Some(Tunnel::Vxlan),
            Self::Geneve(_) => Some(Tunnel::Geneve),
            Self::IpTunnel(found) => Some(found.tunnel),
            Self::Wireguard => Some(Tunnel::Wireguard),
            Self::Other(name) => Tunnel::of_link(name),
            _ => None,
        }
    }

    /// Whether it is one end of a pair.
    pub(crate) fn is_pair(&self) -> bool {
        matches!(self, Self::Veth | Self::Netkit)
    }
}

/// As people write it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Physical => "physical",
            Self::Loopback => "loopback",
            Self::Vlan { .. } => "VLAN",
            Self::Vrf { .. } => "VRF",
            other => match other.tunnel() {
                Some(tunnel) => tunnel.name(),
                None => other.name(),
            },
        })
    }
}

/// What a VXLAN tunnel is set up with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Vxlan {
    /// Network identifier; 0 if each packet has its own.
    pub(crate) vni: u32,
    /// Address that tunnel packets come from, if it is fixed.
    pub(crate) local: Option<IpAddr>,
    /// Where packets go that have no FDB entry: the only remote, or a multicast group.
    pub(crate) remote: Option<IpAddr>,
    /// UDP destination port.
    pub(crate) port: u16,
    /// The interface that tunnel packets leave through, if it is fixed.
    pub(crate) underlying: Option<u32>,
    /// Whether the FDB learns from packets that come in.
    pub(crate) learning: bool,
    /// Whether each packet brings its own network identifier and remote (`external`, as of Cilium).
    pub(crate) external: bool,
}

/// What a Geneve tunnel is set up with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Geneve {
    /// Network identifier; 0 if each packet has its own.
    pub(crate) vni: u32,
    /// The only remote.
    pub(crate) remote: Option<IpAddr>,
    /// UDP destination port.
    pub(crate) port: u16,
    /// Whether each packet brings its own network identifier and remote (`external`, as of Cilium).
    pub(crate) external: bool,
}

/// What a tunnel of IP in IP, GRE and their like is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IpTunnel {
    /// What it is.
    pub(crate) tunnel: Tunnel,
    /// The kernel's name for it, such as `ip6gre`.
    pub(crate) kind: &'static str,
    /// Address that tunnel packets come from, if it is fixed.
    pub(crate) local: Option<IpAddr>,
    /// The only remote; `None` where the route of each packet says it.
    pub(crate) remote: Option<IpAddr>,
    /// Bytes of optional headers that it adds to each packet.
    pub(crate) options: u32,
    /// Whether each packet brings its own remote (`external`).
    pub(crate) external: bool,
}

/// What a bridge is set up with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bridge {
    /// Spanning tree is on.
    pub(crate) stp: bool,
    /// How long a port listens, and then learns, in hundredths of a second.
    pub(crate) forward_delay: u32,
    /// Frames are kept to the VLANs of the ports.
    pub(crate) vlan_filtering: bool,
    /// IPv4 packets that it forwards meet iptables, by a setting of the bridge itself.
    pub(crate) nf_call_iptables: bool,
    /// The same for IPv6.
    pub(crate) nf_call_ip6tables: bool,
    /// Questions of ARP meet arptables.
    pub(crate) nf_call_arptables: bool,
}

impl Bridge {
    /// Whether packets of this IP version that it forwards meet iptables, by a setting of its own.
    pub(crate) fn calls_iptables(self, is_ipv4: bool) -> bool {
        match is_ipv4 {
            true => self.nf_call_iptables,
            false => self.nf_call_ip6tables,
        }
    }
}

/// How macvlan links of the same parent treat each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MacvlanMode {
    /// They do not exchange frames.
    Private,
    /// They exchange frames by way of the network outside only.
    Vepa,
    /// They exchange frames.
    Bridge,
    /// It is the only one.
    Passthru,
    /// It takes frames from listed addresses only.
    Source,
    /// Another mode.
    Other(u32),
}
