//! The kernel's network, as netlink shows it: the only user of netlink, and the only way into a
//! network namespace.
//!
//! ```text
//! kernel ─► netlink ─► link, address, route ─► inventory ─► watch ─► Change
//! ```
//!
//! - [`netns`]: network namespaces, and work inside of them
//! - [`Rtnetlink`]: asks for links, addresses, neighbors, FDB entries, routes, rules and queues
//! - [`sock_diag`]: asks for sockets
//! - [`Subsystem`]: what is in the kernel, so that no question loads a module
//! - [`Inventory`]: the interfaces that are known, to be looked up
//! - [`Watch`]: keeps it current, by rtnetlink's multicast groups

mod address;
mod bridge_fdb;
mod conntrack;
mod conntrack_stats;
mod fdb;
mod inventory;
mod link;
mod message;
mod neighbor;
mod netlink;
pub(crate) mod netns;
mod nft_rules;
mod nsid;
mod qdisc;
mod route;
mod rule;
pub(crate) mod sock_diag;
mod subsystem;
mod tc;
mod uplink;
mod vlan;
mod watch;
mod wireguard;
mod xfrm;

use std::net::IpAddr;

#[cfg(test)]
pub(crate) use self::link::{BridgePort, Geneve, IpTunnel, Ipv4Settings, Vxlan};
pub(crate) use self::{
    address::{Address, AddressFlags},
    bridge_fdb::{BridgeFdbEntry, FdbKind},
    conntrack::{ConntrackEntry, conntrack_entry},
    conntrack_stats::conntrack_stats,
    fdb::{FdbEntry, matching_entries},
    inventory::Inventory,
    link::{Bridge, Kind, Link, MacvlanMode, OtherLink, PortState, XdpMode},
    neighbor::{Mac, Neighbor, NeighborState, ProxyEntry},
    netlink::Rtnetlink,
    nft_rules::{NftExpression, NftRule, nft_generation, nft_link_tables, nft_rules},
    qdisc::{Limits, Qdisc},
    route::{Route, RouteKey, RouteKind},
    rule::{LOCAL_TABLE, Rule, RuleAction},
    subsystem::Subsystem,
    tc::{CLSACT_EGRESS, CLSACT_INGRESS, FilterAction, FilterActions, FilterId, TcFilter},
    vlan::Vlan,
    watch::Watch,
    wireguard::WireguardDevice,
    xfrm::{IpsecDirection, IpsecPolicy, IpsecSetup},
};

/// An interface of a watched namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Inode number of its network namespace.
    pub(crate) netns: u32,
    /// What the kernel says of it.
    pub(crate) link: Link,
    /// Own addresses, in order.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether packets that it sends leave what can be seen of this node: a NIC, but no pod's veth.
    pub(crate) is_uplink: bool,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
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
pub(crate) mod tests;
