//! A link of a network namespace: what it is, and what it is tied to.

use crate::net::{Bridge, BridgePort, Mac, Vxlan};
pub use crate::net::{Ipv4Settings, Ipv6Settings, MacvlanMode};

/// A link, anywhere on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// Inode number of its namespace.
    pub netns: u32,
    /// Its number in there.
    pub ifindex: u32,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is.
    pub id: LinkId,
    /// Its name.
    pub name: String,
    /// The kernel's name for what it is, such as `veth`; empty for one with a driver, and for `lo`.
    pub kind: String,
    /// What is special about its kind.
    pub detail: Detail,
    /// The largest packet it takes, in bytes from the network header up.
    pub mtu: u32,
    /// Its link-layer address.
    pub mac: Option<Mac>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it has a carrier.
    pub carrier: bool,
    /// Whether it takes frames for any address.
    pub promiscuous: bool,
    /// Whether it resolves no addresses (`NOARP`).
    pub noarp: bool,
    /// The bridge, bond, VRF or other link that it is a member of.
    pub master: Option<u32>,
    /// The other end of a pair, or the link below.
    pub tie: Tie,
    /// What it is as a port of a bridge.
    pub port: Option<BridgePort>,
    /// Its own settings of IPv4; `None` if the kernel did not report them.
    pub ipv4: Option<Ipv4Settings>,
    /// Its own settings of IPv6; `None` if it has none.
    pub ipv6: Option<Ipv6Settings>,
}

/// The other link that one is tied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tie {
    /// There is none.
    #[default]
    None,
    /// This one.
    To(LinkId),
    /// One with this number in a namespace that cannot be entered, or was not read.
    Hidden(u32),
}

impl Tie {
    /// The other link, if it was read.
    pub fn link(self) -> Option<LinkId> {
        match self {
            Self::To(id) => Some(id),
            Self::None | Self::Hidden(_) => None,
        }
    }
}

/// What is special about a kind of link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    #[default]
    Plain,
    /// The `lo` device.
    Loopback,
    /// One end of a pair of links; [`Link::tie`] is the other one.
    Pair,
    /// A bridge.
    Bridge(Bridge),
    /// A VXLAN device.
    Vxlan(Vxlan),
    /// Takes part of a parent's traffic by MAC address.
    Macvlan(MacvlanMode),
    /// Takes part of a parent's traffic by IP address.
    Ipvlan,
    /// A VLAN of its parent, by this identifier.
    Vlan(u16),
    /// A routing table of its own for its members.
    Vrf(u32),
    /// The other end is a process.
    Tun,
}

impl Link {
    /// The bridge, if it is one.
    pub fn bridge(&self) -> Option<&Bridge> {
        match &self.detail {
            Detail::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    /// The other end, if it is one end of a pair and the other is known.
    pub fn other_end(&self) -> Option<LinkId> {
        (self.detail == Detail::Pair).then(|| self.tie.link())?
    }

    /// The link below, if it is on top of a known one.
    pub fn parent(&self) -> Option<LinkId> {
        self.is_on_parent().then(|| self.tie.link())?
    }

    /// Whether it is on top of another link.
    pub fn is_on_parent(&self) -> bool {
        matches!(
            self.detail,
            Detail::Macvlan(_) | Detail::Ipvlan | Detail::Vlan(_)
        )
    }

    /// Another link of the same namespace.
    pub fn sibling(&self, ifindex: u32) -> LinkId {
        LinkId {
            netns: self.id.netns,
            ifindex,
        }
    }
}
