//! Reads `RTM_NEWLINK` and `RTM_DELLINK`.

use std::net::IpAddr;

use super::{
    Bridge, Geneve, Kind, Link, MacvlanMode, OperState, OtherLink, Vxlan, conf, ip_tunnel, port,
    xdp,
};
use crate::net::{
    Mac,
    message::{Attributes, Message},
};

/// Length of `struct ifinfomsg`.
pub(super) const FIXED: usize = 16;

/// Numbers of include/uapi/linux/{if_link,if_tunnel}.h.
pub(super) mod ifla {
    pub(in super::super) const EXT_MASK: u16 = 29;
    pub(in super::super) const OPERSTATE: u16 = 16;
    pub(in super::super) const CARRIER: u16 = 33;
    pub(in super::super) const XDP: u16 = 43;
    pub(in super::super) const TARGET_NETNSID: u16 = 46;
    pub(in super::super) const INFO_KIND: u16 = 1;
    pub(in super::super) const INFO_DATA: u16 = 2;
    pub(in super::super) const INFO_SLAVE_KIND: u16 = 4;
    pub(in super::super) const INFO_SLAVE_DATA: u16 = 5;
    pub(super) const BR_FORWARD_DELAY: u16 = 1;
    pub(super) const BR_STP_STATE: u16 = 5;
    pub(super) const BR_VLAN_FILTERING: u16 = 7;
    pub(super) const BR_NF_CALL_IPTABLES: u16 = 36;
    pub(super) const BR_NF_CALL_IP6TABLES: u16 = 37;
    pub(super) const BR_NF_CALL_ARPTABLES: u16 = 38;
    pub(super) const MACVLAN_MODE: u16 = 1;
    pub(super) const VLAN_ID: u16 = 1;
    pub(super) const VRF_TABLE: u16 = 1;
    pub(super) const VXLAN_ID: u16 = 1;
    pub(super) const VXLAN_GROUP: u16 = 2;
    pub(super) const VXLAN_LINK: u16 = 3;
    pub(super) const VXLAN_LOCAL: u16 = 4;
    pub(super) const VXLAN_LEARNING: u16 = 7;
    pub(super) const VXLAN_PORT: u16 = 15;
    pub(super) const VXLAN_GROUP6: u16 = 16;
    pub(super) const VXLAN_LOCAL6: u16 = 17;
    pub(super) const VXLAN_COLLECT_METADATA: u16 = 25;
    pub(super) const GENEVE_ID: u16 = 1;
    pub(super) const GENEVE_REMOTE: u16 = 2;
    pub(super) const GENEVE_PORT: u16 = 5;
    pub(super) const GENEVE_COLLECT_METADATA: u16 = 6;
    /// `IFLA_TUN_VNET_HDR`
    pub(super) const TUN_VNET_HDR: u16 = 5;
    pub(super) const GENEVE_REMOTE6: u16 = 7;
}

/// What a message says about a link.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) enum LinkEvent {
    /// It exists.
    Present(Box<Link>),
    /// It has gone.
    Gone(u32),
}

/// Reads a message about a link.
pub(in crate::net) fn event(message: &Message<'_>) -> Option<LinkEvent> {
    // A bridge reports its ports in the same group: a port that leaves is `RTM_DELLINK` with
    // AF_BRIDGE, and exists all the same.
    if i32::from(message.u8_at(0)?) != libc::AF_UNSPEC {
        return None;
    }
    match message.kind {
        libc::RTM_NEWLINK => Some(LinkEvent::Present(Box::new(link(message)?))),
        libc::RTM_DELLINK => Some(LinkEvent::Gone(message.u32_at(4)?)),
        _ => None,
    }
}

/// Reads a link.
pub(super) fn link(message: &Message<'_>) -> Option<Link> {
    let ifindex = message.u32_at(4)?;
    let flags = message.u32_at(8)?.cast_signed();
    let all = message.attributes(FIXED);
    let info = all.inside(libc::IFLA_LINKINFO);
    let nsid = all.u32(libc::IFLA_LINK_NETNSID).map(u32::cast_signed);
    let other = all.u32(libc::IFLA_LINK);
    // 0: none, or one in a namespace that has no id here. Its own number: itself.
    let other = other.filter(|other| nsid.is_some() || (*other != 0 && *other != ifindex));
    let running = flags & libc::IFF_RUNNING != 0;
    let mac = all.get(libc::IFLA_ADDRESS).filter(|mac| !mac.is_empty());
    let of_bridge = info.text(ifla::INFO_SLAVE_KIND).as_deref() == Some("bridge");
    let unlabeled = if message.u16_at(2)? == libc::ARPHRD_LOOPBACK {
        Kind::Loopback
    } else {
        Kind::Physical
    };
    Some(Link {
        ifindex,
        name: all.text(libc::IFLA_IFNAME)?,
        // A device with a driver mostly has no LINKINFO, or one without a kind.
        kind: kind(info).unwrap_or(unlabeled),
        mtu: all.u32(libc::IFLA_MTU).unwrap_or(0),
        mac: mac.map(|mac| Mac(mac.to_vec())),
        master: all.u32(libc::IFLA_MASTER).filter(|master| *master != 0),
        other: other.map(|ifindex| OtherLink { ifindex, nsid }),
        up: flags & libc::IFF_UP != 0,
        running,
        carrier: all
            .u8(ifla::CARRIER)
            .map_or(running, |carrier| carrier != 0),
        operstate: operstate(all.u8(ifla::OPERSTATE).unwrap_or(0)),
        promiscuous: flags & libc::IFF_PROMISC != 0,
        noarp: flags & libc::IFF_NOARP != 0,
        port: of_bridge.then(|| port::read(info.inside(ifla::INFO_SLAVE_DATA))),
        xdp: xdp::programs(all.inside(ifla::XDP)),
        ipv4: conf::ipv4(all),
        ipv6: conf::ipv6(all),
    })
}

fn kind(info: Attributes<'_>) -> Option<Kind> {
    let name = info.text(ifla::INFO_KIND)?;
    let data = info.inside(ifla::INFO_DATA);
    Some(match name.as_str() {
        "veth" | "vxcan" => Kind::Veth,
        "netkit" => Kind::Netkit,
        "bridge" => Kind::Bridge(bridge(data)),
        "vxlan" => Kind::Vxlan(vxlan(data)),
        "geneve" => Kind::Geneve(geneve(data)),
        "tun" => Kind::Tun {
            vnet_hdr: data.is_set(ifla::TUN_VNET_HDR),
        },
        "vlan" => Kind::Vlan {
            id: data.u16(ifla::VLAN_ID).unwrap_or(0),
        },
        "macvlan" | "macvtap" => Kind::Macvlan(macvlan(data.u32(ifla::MACVLAN_MODE).unwrap_or(0))),
        "ipvlan" | "ipvtap" => Kind::Ipvlan,
        "bond" => Kind::Bond,
        "vrf" => Kind::Vrf {
            table: data.u32(ifla::VRF_TABLE).unwrap_or(0),
        },
        "wireguard" => Kind::Wireguard,
        "dummy" => Kind::Dummy,
        _ => match ip_tunnel::read(&name, data) {
            Some(tunnel) => Kind::IpTunnel(tunnel),
            None => Kind::Other(name),
        },
    })
}

fn vxlan(data: Attributes<'_>) -> Vxlan {
    let address = |v4, v6| specified(data.address(v4).or_else(|| data.address(v6)));
    Vxlan {
        vni: data.u32(ifla::VXLAN_ID).unwrap_or(0),
        local: address(ifla::VXLAN_LOCAL, ifla::VXLAN_LOCAL6),
        remote: address(ifla::VXLAN_GROUP, ifla::VXLAN_GROUP6),
        port: data.port(ifla::VXLAN_PORT).unwrap_or(0),
        underlying: data.u32(ifla::VXLAN_LINK).filter(|link| *link != 0),
        learning: data.is_set(ifla::VXLAN_LEARNING),
        external: data.is_set(ifla::VXLAN_COLLECT_METADATA),
    }
}

fn geneve(data: Attributes<'_>) -> Geneve {
    let remote = data
        .address(ifla::GENEVE_REMOTE)
        .or_else(|| data.address(ifla::GENEVE_REMOTE6));
    Geneve {
        vni: data.u32(ifla::GENEVE_ID).unwrap_or(0),
        remote: specified(remote),
        port: data.port(ifla::GENEVE_PORT).unwrap_or(0),
        // A flag: it is there, or it is not.
        external: data.get(ifla::GENEVE_COLLECT_METADATA).is_some(),
    }
}

pub(super) fn specified(address: Option<IpAddr>) -> Option<IpAddr> {
    address.filter(|address| !address.is_unspecified())
}

fn bridge(data: Attributes<'_>) -> Bridge {
    Bridge {
        // 2 is a spanning tree that a process looks after.
        stp: data.u32(ifla::BR_STP_STATE).unwrap_or(0) != 0,
        forward_delay: data.u32(ifla::BR_FORWARD_DELAY).unwrap_or(0),
        vlan_filtering: data.is_set(ifla::BR_VLAN_FILTERING),
        nf_call_iptables: data.is_set(ifla::BR_NF_CALL_IPTABLES),
        nf_call_ip6tables: data.is_set(ifla::BR_NF_CALL_IP6TABLES),
        nf_call_arptables: data.is_set(ifla::BR_NF_CALL_ARPTABLES),
    }
}

fn macvlan(mode: u32) -> MacvlanMode {
    match mode {
        1 => MacvlanMode::Private,
        2 => MacvlanMode::Vepa,
        4 => MacvlanMode::Bridge,
        8 => MacvlanMode::Passthru,
        16 => MacvlanMode::Source,
        other => MacvlanMode::Other(other),
    }
}

fn operstate(number: u8) -> OperState {
    match number {
        1 => OperState::NotPresent,
        2 => OperState::Down,
        3 => OperState::LowerLayerDown,
        4 => OperState::Testing,
        5 => OperState::Dormant,
        6 => OperState::Up,
        _ => OperState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{PortState, message::Request};

    fn message(family: i32, kind: u16) -> Request {
        let mut fixed = [0; FIXED];
        fixed[0] = family as u8;
        fixed[2] = 1;
        fixed[4] = 7;
        fixed[8] = (libc::IFF_UP | libc::IFF_RUNNING) as u8;
        Request::new(kind, &fixed)
    }

    #[test]
    fn a_tunnel_is_read() {
        let request = message(libc::AF_UNSPEC, libc::RTM_NEWLINK)
            .with(libc::IFLA_IFNAME, b"flannel.1\0")
            .with_u32(libc::IFLA_MTU, Some(1450))
            .with_u32(libc::IFLA_MASTER, Some(9))
            .with(9999, b"from a later kernel")
            .nested(libc::IFLA_LINKINFO, |info| {
                info.with(ifla::INFO_KIND, b"vxlan\0")
                    .nested(ifla::INFO_DATA, |data| {
                        data.with_u32(ifla::VXLAN_ID, Some(1))
                            .with_u32(ifla::VXLAN_LINK, Some(2))
                            .with_address(ifla::VXLAN_LOCAL, "10.0.0.11".parse().unwrap())
                            .with(ifla::VXLAN_PORT, &8472_u16.to_be_bytes())
                            .with(ifla::VXLAN_COLLECT_METADATA, &[0])
                    })
            });
        let Some(LinkEvent::Present(found)) = event(&request.message()) else {
            panic!("not read");
        };
        assert_eq!((found.ifindex, found.mtu, found.master), (7, 1450, Some(9)));
        assert_eq!(found.name, "flannel.1");
        assert!(found.up && found.running);
        let vxlan = found.vxlan().unwrap();
        assert_eq!(
            (vxlan.vni, vxlan.port, vxlan.underlying),
            (1, 8472, Some(2))
        );
        assert_eq!(vxlan.local, Some(IpAddr::from([10, 0, 0, 11])));
        assert!(!vxlan.external);
    }

    #[test]
    fn a_pair_and_a_port_are_read() {
        let request = message(libc::AF_UNSPEC, libc::RTM_NEWLINK)
            .with(libc::IFLA_IFNAME, b"pod0\0")
            .with_u32(libc::IFLA_LINK, Some(2))
            .with_u32(libc::IFLA_LINK_NETNSID, Some(0))
            .nested(libc::IFLA_LINKINFO, |info| {
                info.with(ifla::INFO_KIND, b"veth\0")
                    .with(ifla::INFO_SLAVE_KIND, b"bridge\0")
                    .nested(ifla::INFO_SLAVE_DATA, |data| data.with(1, &[3]))
            });
        let found = link(&request.message()).unwrap();
        assert_eq!(found.port.unwrap().state, PortState::Forwarding);
        let peer = found.peer().unwrap();
        assert_eq!((peer.ifindex, peer.nsid), (2, Some(0)));
    }

    #[test]
    fn a_port_that_leaves_its_bridge_has_not_gone() {
        let of = |family| event(&message(family, libc::RTM_DELLINK).message());
        assert_eq!(of(libc::AF_BRIDGE), None);
        assert_eq!(of(libc::AF_UNSPEC), Some(LinkEvent::Gone(7)));
    }
}
