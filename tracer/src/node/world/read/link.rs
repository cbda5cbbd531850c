//! Reads `RTM_NEWLINK`.

use super::{conf, ends::Raw, port};
use crate::{
    kernel::interfaces::Vxlan,
    node::{
        neighbour::Mac,
        rtnetlink::{Attributes, Message, u16_at},
        world::{
            bridge::Bridge,
            link::{Detail, Link, LinkId, MacvlanMode, Tie},
        },
    },
};

/// Length of `struct ifinfomsg`.
const FIXED: usize = 16;

/// Numbers of include/uapi/linux/if_link.h.
mod ifla {
    pub(super) const EXT_MASK: u16 = 29;
    pub(super) const CARRIER: u16 = 33;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const INFO_SLAVE_KIND: u16 = 4;
    pub(super) const INFO_SLAVE_DATA: u16 = 5;
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
    pub(super) const VXLAN_LINK: u16 = 3;
    pub(super) const VXLAN_LOCAL: u16 = 4;
    pub(super) const VXLAN_PORT: u16 = 15;
    pub(super) const VXLAN_LOCAL6: u16 = 17;
}

/// Asks for all links, without their counters.
pub(super) fn all() -> Message {
    Message::new(libc::RTM_GETLINK, &[0; FIXED]).with_u32(
        ifla::EXT_MASK,
        Some(libc::RTEXT_FILTER_SKIP_STATS.cast_unsigned()),
    )
}

/// Reads one, with what the kernel says of the link it is tied to.
pub(super) fn read(netns: u32, message: &Message) -> Option<(Link, Option<Raw>)> {
    let ifindex = message.u32_at(4)?;
    let flags = message.u32_at(8)?.cast_signed();
    let all = message.attributes(FIXED);
    let info = all.inside(libc::IFLA_LINKINFO);
    let kind = info.text(ifla::INFO_KIND).unwrap_or_default();
    let is_loopback = flags & libc::IFF_LOOPBACK != 0;
    let of_bridge = info.text(ifla::INFO_SLAVE_KIND).as_deref() == Some("bridge");
    let carrier = all.get(ifla::CARRIER).and_then(|value| value.first());
    let id = LinkId { netns, ifindex };
    let link = Link {
        id,
        name: all.text(libc::IFLA_IFNAME)?,
        detail: match is_loopback {
            true => Detail::Loopback,
            false => detail(&kind, info.inside(ifla::INFO_DATA)),
        },
        kind,
        mtu: all.u32(libc::IFLA_MTU).unwrap_or(0),
        mac: all
            .get(libc::IFLA_ADDRESS)
            .filter(|mac| !mac.is_empty())
            .map(|mac| Mac(mac.to_vec())),
        up: flags & libc::IFF_UP != 0,
        carrier: carrier.map_or(flags & libc::IFF_RUNNING != 0, |value| *value != 0),
        promiscuous: flags & libc::IFF_PROMISC != 0,
        noarp: flags & libc::IFF_NOARP != 0,
        master: all.u32(libc::IFLA_MASTER).filter(|master| *master != 0),
        tie: Tie::None,
        port: of_bridge.then(|| port::read(info.inside(ifla::INFO_SLAVE_DATA))),
        ipv4: conf::ipv4(all),
        ipv6: conf::ipv6(all),
    };
    let tied = all.u32(libc::IFLA_LINK);
    let nsid = all.u32(libc::IFLA_LINK_NETNSID).map(u32::cast_signed);
    // 0: in a namespace that has no id here. Its own number: itself.
    let tied = tied.filter(|tied| nsid.is_some() || *tied != ifindex);
    Some((link, tied.map(|ifindex| Raw { ifindex, nsid })))
}

fn detail(kind: &str, data: Attributes<'_>) -> Detail {
    let u16 = |wanted| data.get(wanted).and_then(|value| u16_at(value, 0));
    match kind {
        "veth" | "netkit" | "vxcan" => Detail::Pair,
        "bridge" => Detail::Bridge(bridge(data)),
        "vxlan" => Detail::Vxlan(vxlan(data)),
        "macvlan" | "macvtap" => {
            Detail::Macvlan(macvlan(data.u32(ifla::MACVLAN_MODE).unwrap_or(0)))
        }
        "ipvlan" | "ipvtap" => Detail::Ipvlan,
        "vlan" => Detail::Vlan(u16(ifla::VLAN_ID).unwrap_or(0)),
        "vrf" => Detail::Vrf(data.u32(ifla::VRF_TABLE).unwrap_or(0)),
        "tun" => Detail::Tun,
        _ => Detail::Plain,
    }
}

fn bridge(data: Attributes<'_>) -> Bridge {
    let is_on = |wanted| {
        data.get(wanted)
            .is_some_and(|value| value.first() == Some(&1))
    };
    Bridge {
        // 2 is a spanning tree that a process looks after.
        stp: data.u32(ifla::BR_STP_STATE).unwrap_or(0) != 0,
        forward_delay: data.u32(ifla::BR_FORWARD_DELAY).unwrap_or(0),
        vlan_filtering: is_on(ifla::BR_VLAN_FILTERING),
        nf_call_iptables: is_on(ifla::BR_NF_CALL_IPTABLES),
        nf_call_ip6tables: is_on(ifla::BR_NF_CALL_IP6TABLES),
        nf_call_arptables: is_on(ifla::BR_NF_CALL_ARPTABLES),
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

fn vxlan(data: Attributes<'_>) -> Vxlan {
    let local = data
        .address(ifla::VXLAN_LOCAL)
        .or_else(|| data.address(ifla::VXLAN_LOCAL6));
    let port = data.get(ifla::VXLAN_PORT);
    Vxlan {
        vni: data.u32(ifla::VXLAN_ID).unwrap_or(0),
        local: local.filter(|local| !local.is_unspecified()),
        port: port
            .and_then(|value| u16_at(value, 0))
            .map_or(0, u16::from_be),
        underlying: data.u32(ifla::VXLAN_LINK).filter(|link| *link != 0),
    }
}
