//! From links as the kernel reports them to links of the model.

use crate::{
    net::{self, Kind},
    node::world::link::{Detail, Link, LinkId, Tie},
};

/// A link of a namespace. What it is tied to is found later.
pub(super) fn link(netns: u32, found: net::Link) -> Link {
    Link {
        id: LinkId {
            netns,
            ifindex: found.ifindex,
        },
        name: found.name,
        kind: found.kind.name().to_owned(),
        detail: detail(found.kind),
        mtu: found.mtu,
        mac: found.mac,
        up: found.up,
        carrier: found.carrier,
        promiscuous: found.promiscuous,
        noarp: found.noarp,
        master: found.master,
        tie: Tie::None,
        port: found.port,
        ipv4: found.ipv4,
        ipv6: found.ipv6,
    }
}

fn detail(kind: Kind) -> Detail {
    match kind {
        Kind::Loopback => Detail::Loopback,
        Kind::Veth | Kind::Netkit => Detail::Pair,
        Kind::Bridge(bridge) => Detail::Bridge(bridge),
        Kind::Vxlan(vxlan) => Detail::Vxlan(vxlan),
        Kind::Macvlan(mode) => Detail::Macvlan(mode),
        Kind::Ipvlan => Detail::Ipvlan,
        Kind::Vlan { id } => Detail::Vlan(id),
        Kind::Vrf { table } => Detail::Vrf(table),
        Kind::Tun => Detail::Tun,
        Kind::Physical
        | Kind::Geneve(_)
        | Kind::IpTunnel(_)
        | Kind::Bond
        | Kind::Wireguard
        | Kind::Dummy
        | Kind::Other(_) => Detail::Plain,
    }
}
