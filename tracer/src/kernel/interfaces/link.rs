//! Reads links: `RTM_NEWLINK` and `RTM_DELLINK`.

use std::net::IpAddr;

use super::{
    Interface, Kind, Link, Vxlan,
    address::ip,
    netlink::{Message, Request, attributes, u16_at, u32_at},
};

/// Length of `struct ifinfomsg`.
const FIXED: usize = 16;

/// Attributes within `IFLA_LINKINFO` (include/uapi/linux/if_link.h).
mod info {
    pub(super) const KIND: u16 = 1;
    pub(super) const DATA: u16 = 2;
    pub(super) const VXLAN_ID: u16 = 1;
    pub(super) const VXLAN_LINK: u16 = 3;
    pub(super) const VXLAN_LOCAL: u16 = 4;
    pub(super) const VXLAN_PORT: u16 = 15;
    pub(super) const VXLAN_LOCAL6: u16 = 17;
    pub(super) const GENEVE_ID: u16 = 1;
    pub(super) const GENEVE_PORT: u16 = 5;
}

/// Asks for all links.
pub(super) fn all() -> Request {
    Request::new(libc::RTM_GETLINK, 0, &[0; FIXED])
}

/// What a message says about a link.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It exists. Addresses and `is_uplink` are not in the message.
    Is(Interface),
    /// It has gone.
    Gone(u32),
}

/// Reads a message about a link.
pub(super) fn read(netns: u32, message: &Message<'_>) -> Option<Said> {
    let payload = message.payload;
    // A bridge tells of its ports in the same group: a port that leaves is `RTM_DELLINK` with
    // AF_BRIDGE, and exists all the same.
    if i32::from(*payload.first()?) != libc::AF_UNSPEC {
        return None;
    }
    let ifindex = u32_at(payload, 4)?;
    match message.kind {
        libc::RTM_NEWLINK => Some(Said::Is(interface(netns, ifindex, payload)?)),
        libc::RTM_DELLINK => Some(Said::Gone(ifindex)),
        _ => None,
    }
}

fn interface(netns: u32, ifindex: u32, payload: &[u8]) -> Option<Interface> {
    let hardware = u16_at(payload, 2)?;
    let flags = u32_at(payload, 8)?.cast_signed();
    let mut name = None;
    let mut mtu = 0;
    let mut master = None;
    let mut link = None;
    let mut nsid = None;
    let mut mac = Vec::new();
    let mut kind = if hardware == libc::ARPHRD_LOOPBACK {
        Kind::Loopback
    } else {
        Kind::Physical
    };
    for (attribute, value) in attributes(payload.get(FIXED..)?) {
        match attribute {
            libc::IFLA_IFNAME => name = Some(text(value)),
            libc::IFLA_MTU => mtu = u32_at(value, 0).unwrap_or(0),
            libc::IFLA_MASTER => master = u32_at(value, 0),
            libc::IFLA_LINK => link = u32_at(value, 0),
            libc::IFLA_LINK_NETNSID => nsid = u32_at(value, 0).map(u32::cast_signed),
            libc::IFLA_ADDRESS => mac = value.to_vec(),
            libc::IFLA_LINKINFO => kind = kind_of(value).unwrap_or(kind),
            _ => {}
        }
    }
    // 0: none, or one in a namespace that has no id here. Its own number: itself.
    let link = link.filter(|link| nsid.is_some() || (*link != 0 && *link != ifindex));
    Some(Interface {
        netns,
        ifindex,
        name: name?,
        kind,
        mtu,
        master,
        link: link.map(|ifindex| Link { ifindex, nsid }),
        mac,
        addresses: Vec::new(),
        up: flags & libc::IFF_UP != 0,
        running: flags & libc::IFF_RUNNING != 0,
        is_uplink: false,
    })
}

/// Reads `IFLA_LINKINFO`; a device with a driver mostly has none, or one without a kind.
fn kind_of(link_info: &[u8]) -> Option<Kind> {
    let find = |wanted| {
        let mut all = attributes(link_info);
        all.find_map(|(attribute, value)| (attribute == wanted).then_some(value))
    };
    let kind = text(find(info::KIND)?);
    let data = find(info::DATA).unwrap_or_default();
    Some(match kind.as_str() {
        "veth" => Kind::Veth,
        "bridge" => Kind::Bridge,
        "vxlan" => Kind::Vxlan(vxlan(data)),
        "geneve" => geneve(data),
        "ipip" | "sit" | "ip6tnl" => Kind::Ipip,
        "gre" | "gretap" | "ip6gre" | "ip6gretap" | "erspan" | "ip6erspan" => Kind::Gre,
        "tun" => Kind::Tun,
        "vlan" => Kind::Vlan,
        "bond" => Kind::Bond,
        "wireguard" => Kind::Wireguard,
        "dummy" => Kind::Dummy,
        _ => Kind::Other(kind),
    })
}

fn vxlan(data: &[u8]) -> Vxlan {
    let mut found = Vxlan {
        vni: 0,
        local: None,
        port: 0,
        underlying: None,
    };
    for (attribute, value) in attributes(data) {
        match attribute {
            info::VXLAN_ID => found.vni = u32_at(value, 0).unwrap_or(0),
            info::VXLAN_LINK => found.underlying = u32_at(value, 0).filter(|link| *link != 0),
            info::VXLAN_LOCAL | info::VXLAN_LOCAL6 => {
                found.local = ip(value).filter(|local: &IpAddr| !local.is_unspecified());
            }
            info::VXLAN_PORT => found.port = u16_at(value, 0).map_or(0, u16::from_be),
            _ => {}
        }
    }
    found
}

fn geneve(data: &[u8]) -> Kind {
    let (mut vni, mut port) = (0, 0);
    for (attribute, value) in attributes(data) {
        match attribute {
            info::GENEVE_ID => vni = u32_at(value, 0).unwrap_or(0),
            info::GENEVE_PORT => port = u16_at(value, 0).map_or(0, u16::from_be),
            _ => {}
        }
    }
    Kind::Geneve { vni, port }
}

/// A C string.
fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}
