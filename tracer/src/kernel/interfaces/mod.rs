//! The network interfaces of the watched namespaces: what there is, and what changes.
//!
//! ```text
//! kernel ─► netlink ─► link, address, route ─► inventory ─► watch ─► Change
//! ```
//!
//! - [`Namespace`]: where to look
//! - [`Inventory`]: what is known, to be looked up
//! - [`Watch`]: keeps it current, by rtnetlink's multicast groups

mod address;
mod inventory;
mod link;
mod namespace;
pub(super) mod netlink;
mod route;
mod uplink;
mod watch;

use std::net::IpAddr;

pub use self::{inventory::Inventory, namespace::Namespace, watch::Watch};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Inode number of its network namespace.
    pub netns: u32,
    /// Number, unique within the namespace.
    pub ifindex: u32,
    /// Name, which may change.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Largest packet it takes, without the link-layer header.
    pub mtu: u32,
    /// The bridge, bond or VRF that it is a member of.
    pub master: Option<u32>,
    /// Of a veth or netkit: the other end. Of a VLAN, macvlan and the like: the interface below.
    pub link: Option<Link>,
    /// Link-layer address, if it has one.
    pub mac: Vec<u8>,
    /// Own addresses, in order.
    pub addresses: Vec<IpAddr>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether it can carry packets: up, and with a carrier.
    pub running: bool,
    /// Whether packets that it sends leave what can be seen of this node: a NIC, but no pod's veth.
    pub is_uplink: bool,
}

impl Interface {
    /// The other end of a veth or netkit.
    pub fn peer(&self) -> Option<Link> {
        self.link.filter(|_| self.kind.is_pair())
    }

    /// The interface that this one sends through, if it is in the same namespace.
    pub fn lower(&self) -> Option<u32> {
        let link = self.link.filter(|_| !self.kind.is_pair())?;
        link.nsid.is_none().then_some(link.ifindex)
    }
}

/// Another interface that one is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its number, in its own namespace.
    pub ifindex: u32,
    /// The namespace's id in the interface's namespace (`ip netns list-id`), if it is another one.
    pub nsid: Option<i32>,
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A device with a driver: a NIC, virtio, an SR-IOV function.
    Physical,
    /// `lo`
    Loopback,
    /// One end of a pair, mostly a pod's.
    Veth,
    /// A bridge: see [`Interface::master`] of its members.
    Bridge,
    /// VXLAN tunnel.
    Vxlan(Vxlan),
    /// Geneve tunnel.
    Geneve {
        /// Network identifier; 0 if each packet has its own.
        vni: u32,
        /// UDP destination port.
        port: u16,
    },
    /// IP in IP, any of the two versions in any.
    Ipip,
    /// GRE, with or without Ethernet.
    Gre,
    /// Tun or tap: a process is at the other end.
    Tun,
    /// 802.1Q or 802.1ad on another interface.
    Vlan,
    /// Several interfaces as one.
    Bond,
    /// WireGuard, which encrypts.
    Wireguard,
    /// Takes every packet and forgets it; mostly carries addresses.
    Dummy,
    /// Any other, by the kernel's name for it.
    Other(String),
}

impl Kind {
    fn is_pair(&self) -> bool {
        match self {
            Self::Veth => true,
            Self::Other(kind) => kind == "netkit",
            _ => false,
        }
    }
}

/// Properties of a VXLAN tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan {
    /// Network identifier; 0 if each packet has its own.
    pub vni: u32,
    /// Address that tunnel packets come from, if it is fixed.
    pub local: Option<IpAddr>,
    /// UDP destination port.
    pub port: u16,
    /// The interface that tunnel packets leave by, if it is fixed.
    pub underlying: Option<u32>,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An interface is new, or has come from another namespace.
    Appeared(Interface),
    /// Something about an interface has changed, its name perhaps.
    Changed(Interface),
    /// An interface has been deleted, has moved to another namespace, or went with its own.
    Gone {
        /// Inode number of its namespace.
        netns: u32,
        /// Its number, which may be used again.
        ifindex: u32,
    },
}

#[cfg(test)]
mod tests;
