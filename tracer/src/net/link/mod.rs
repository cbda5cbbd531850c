//! A network interface, as rtnetlink shows it.

mod conf;
mod ip_tunnel;
mod kind;
mod port;
mod query;
mod read;
mod xdp;

pub(crate) use self::{
    conf::{Ipv4Settings, Ipv6Settings},
    kind::{Bridge, Geneve, IpTunnel, Kind, MacvlanMode, Vxlan},
    port::{BridgePort, PortState},
    xdp::XdpMode,
};
pub(super) use read::{LinkEvent, event};

use std::net::IpAddr;

use super::Mac;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// Number, unique within the namespace.
    pub(crate) ifindex: u32,
    /// Name, which may change.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Largest packet it takes, in bytes from the network header up.
    pub(crate) mtu: u32,
    /// Link-layer address.
    pub(crate) mac: Option<Mac>,
    /// The bridge, bond or VRF that it is a member of.
    pub(crate) master: Option<u32>,
    /// Of a veth or netkit: the other end. Of a VLAN, macvlan and the like: the interface below.
    pub(crate) other: Option<OtherLink>,
    /// Whether it is administratively up.
    pub(crate) up: bool,
    /// Whether it can carry packets: up, and with a carrier.
    pub(crate) running: bool,
    /// Whether it has a carrier: a signal, a peer or whatever it takes to carry packets.
    pub(crate) carrier: bool,
    /// Operational state (RFC 2863).
    pub(crate) operstate: OperState,
    /// Whether it takes frames for any address.
    pub(crate) promiscuous: bool,
    /// Whether it resolves no addresses (`NOARP`).
    pub(crate) noarp: bool,
    /// What it is as a port of a bridge.
    pub(crate) port: Option<BridgePort>,
    /// XDP programs: where they run, and their numbers.
    pub(crate) xdp: Vec<(XdpMode, u32)>,
    /// Its own settings of IPv4; `None` if the kernel did not report them.
    pub(crate) ipv4: Option<Ipv4Settings>,
    /// Its own settings of IPv6; `None` if it has none.
    pub(crate) ipv6: Option<Ipv6Settings>,
}

/// Another interface that one is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherLink {
    /// Its number, in its own namespace.
    pub(crate) ifindex: u32,
    /// The namespace's id in the interface's namespace (`ip netns list-id`), if it is another one.
    pub(crate) nsid: Option<i32>,
}

/// Operational state of an interface (RFC 2863, `IF_OPER_…`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OperState {
    /// The driver does not say: loopback, tun, most tunnels.
    #[default]
    Unknown,
    /// A part of it is not there.
    NotPresent,
    /// It does not carry packets.
    Down,
    /// It is up, but the interface below is not.
    LowerLayerDown,
    /// It is being tested.
    Testing,
    /// It waits for something outside, such as 802.1X.
    Dormant,
    /// It carries packets.
    Up,
}

impl Link {
    /// The other end of a veth or netkit.
    pub(crate) fn peer(&self) -> Option<OtherLink> {
        self.other.filter(|_| self.kind.is_pair())
    }

    /// The interface that this one sends through, if it is in the same namespace.
    pub(crate) fn lower(&self) -> Option<u32> {
        let other = self.other.filter(|_| !self.kind.is_pair())?;
        other.nsid.is_none().then_some(other.ifindex)
    }

    /// What a VXLAN tunnel is set up with.
    pub(crate) fn vxlan(&self) -> Option<&Vxlan> {
        match &self.kind {
            Kind::Vxlan(vxlan) => Some(vxlan),
            _ => None,
        }
    }

    /// Bytes that it adds to each packet, over IPv4 or IPv6, if it is a tunnel. Those that packets
    /// bring with them, such as options of Geneve, come on top.
    pub(crate) fn tunnel_overhead(&self, over_ipv6: bool) -> Option<u32> {
        let options = match &self.kind {
            Kind::IpTunnel(tunnel) => tunnel.options,
            _ => 0,
        };
        Some(self.kind.tunnel()?.overhead(over_ipv6) + options)
    }

    /// Where all that goes into it comes out, if it is a tunnel that leads to one place only.
    pub(crate) fn tunnel_remote(&self) -> Option<IpAddr> {
        match &self.kind {
            Kind::Vxlan(vxlan) => vxlan.remote.filter(|remote| !remote.is_multicast()),
            Kind::Geneve(geneve) => geneve.remote,
            Kind::IpTunnel(tunnel) => tunnel.remote,
            _ => None,
        }
    }

    /// Whether it is a tunnel that each packet brings its own remote to: a route or a program says
    /// it, and none of the tunnel's own tables.
    pub(crate) fn is_external(&self) -> bool {
        match &self.kind {
            Kind::Vxlan(vxlan) => vxlan.external,
            Kind::Geneve(geneve) => geneve.external,
            Kind::IpTunnel(tunnel) => tunnel.external,
            _ => false,
        }
    }

    /// Whether it is the port of a bridge that exchanges no packets with others like it.
    pub(crate) fn is_isolated(&self) -> bool {
        self.port.is_some_and(|port| port.isolated)
    }
}
