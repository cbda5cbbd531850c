//! What happens to a packet on its way.

use crate::{
    model::{Flow, Hook},
    net::Mac,
    node::world::LinkId,
};

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// The namespace that it happens in.
    pub(crate) netns: u32,
    /// What happens.
    pub(crate) act: Act,
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// A process sends it.
    Sent,
    /// It comes in through a link.
    CameIn(LinkId),
    /// A bridge passes it from one port, or its own namespace, to another port.
    Bridged {
        /// The bridge.
        bridge: LinkId,
        /// The port that it came by.
        from: Option<LinkId>,
        /// The port that it leaves through; `None` where the bridge takes it in.
        to: Option<LinkId>,
    },
    /// The rules at a hook let it pass.
    Passed(Hook),
    /// The rules at a hook let it pass with other addresses.
    Translated(Hook, Flow),
    /// The connection's entry in conntrack translates it to the first flow, or leaves it alone; the
    /// rules of now would make it the second one.
    KeptByEntry(Hook, Flow, Flow),
    /// This rule at a hook exempts it from tracking, so that NAT leaves it alone; without that rule, it
    /// would be translated to the flow.
    Exempted(Hook, String, Flow),
    /// The kernel has a route for it.
    Routed(String),
    /// The MAC address that it is sent to.
    Resolved {
        /// The next hop.
        hop: std::net::IpAddr,
        /// Its MAC address.
        mac: Mac,
        /// The neighbor entry's state, or who would answer.
        by: String,
    },
    /// It leaves through a link.
    WentOut(LinkId),
}
