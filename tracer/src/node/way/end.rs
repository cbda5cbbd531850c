//! Where the way of a packet ends.

use std::net::IpAddr;

use super::DroppedBy;
use crate::{
    model::Hook,
    net::{Mac, Neighbor, NeighborState, Rule},
    node::{
        programs::Program,
        route::Refusal,
        world::{Between, Holder, LinkId, Obstacle},
    },
};

/// Where the way of a packet ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// At a socket of this namespace, if there is one for it.
    Delivered {
        /// The namespace.
        netns: u32,
        /// The link that it came in through.
        link: Option<LinkId>,
        /// Its firewall mark there, if it is known.
        mark: Option<u32>,
    },
    /// Here: the kernel drops it.
    Dropped {
        /// The namespace.
        netns: u32,
        /// The link, where it is at one.
        link: Option<LinkId>,
        /// Why.
        because: Because,
    },
    /// Beyond what can be seen.
    Leaves {
        /// The link that it leaves through.
        by: LinkId,
        /// The next hop there.
        to: IpAddr,
    },
    /// Undecidable.
    Undecided {
        /// The namespace that it was in.
        netns: u32,
        /// What is missing, as a sentence without its end.
        want: String,
    },
}

/// Why the kernel drops a packet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Because {
    /// A netfilter rule.
    Rule(Hook, DroppedBy),
    /// There is no way on by the routing tables.
    Route(Refusal, String),
    /// A policy rule refuses what goes to this address.
    PolicyRule(Box<Rule>, IpAddr),
    /// The source is refused at the link that it came in through.
    Source(SourceFault),
    /// Its source is a loopback address, and the link that it would leave through takes none.
    LoopbackSource(LinkId),
    /// This link does not ask for its neighbors: it takes its own MAC address for theirs (NOARP;
    /// `arp_constructor()` and `ndisc_constructor()` in the kernel).
    AsksNoOne(LinkId),
    /// The namespace does not forward packets that come in through this link.
    NotForwarding(LinkId),
    /// It has used up its hops.
    Ttl,
    /// It is larger than the link takes, and may not be fragmented.
    TooBig {
        /// The link.
        link: LinkId,
        /// Its MTU.
        mtu: u32,
    },
    /// No one answers for the next hop.
    Unanswered(Box<Unanswered>),
    /// The neighbor entry's MAC address is no one's, or the link's that it comes to is another one.
    OtherMac {
        /// The next hop.
        hop: IpAddr,
        /// The address that it is sent to.
        mac: Mac,
        /// Who has the next hop's address, and where frames do reach it.
        holders: Vec<Holder>,
    },
    /// The link that takes it has the MAC address of another one, which has the next hop's address.
    SameMac {
        /// The next hop.
        hop: IpAddr,
        /// The link that takes it.
        taker: LinkId,
        /// The one that has the address.
        holder: Holder,
    },
    /// A bridge keeps frames to this address, but its namespace takes none to it.
    TakenByBridge(Between),
    /// Something below IP is in the way.
    Obstacle(Obstacle),
}

/// Why a source is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceFault {
    /// It is an address of the namespace itself.
    Own,
    /// It is a loopback or otherwise impossible address.
    Martian,
    /// The route back leaves through another link.
    ReversePath,
}

/// A next hop that no one answers for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unanswered {
    /// The next hop.
    pub(crate) hop: IpAddr,
    /// It is a router on the way, and not the packet's destination.
    pub(crate) is_gateway: bool,
    /// The link that the question is sent by.
    pub(crate) from: LinkId,
    /// The source address of the question.
    pub(crate) asks_as: Option<IpAddr>,
    /// The entry's state now.
    pub(crate) state: Option<NeighborState>,
    /// Who has the address, and what is in between.
    pub(crate) holders: Vec<(Holder, Between)>,
    /// A link that would answer for others (proxy ARP), and why it does not.
    pub(crate) proxy: Option<(LinkId, String)>,
    /// The rule that drops the question, or the answer.
    pub(crate) refused: Option<Refused>,
    /// A program that the question or the answer meets, and the link that it is at.
    pub(crate) program: Option<(LinkId, Program)>,
    /// An entry by which the answer is sent to another MAC address than the one that asked.
    pub(crate) misdirected: Option<Misdirected>,
    /// The link has no usable link-local address to ask from, and not the packet's source either:
    /// `ndisc_send_ns()` in the kernel sends nothing.
    pub(crate) lacks_source: bool,
}

/// A configured entry for the host that asks. A Neighbor Advertisement is an IPv6 packet and follows it;
/// an ARP reply goes to the address that the request came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misdirected {
    /// The link that answers.
    pub(crate) at: LinkId,
    /// The entry there.
    pub(crate) entry: Neighbor,
}

/// What drops a Neighbor Solicitation, or the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The namespace.
    pub(crate) netns: u32,
    /// The hook.
    pub(crate) hook: Hook,
    /// What drops it there.
    pub(crate) by: DroppedBy,
    /// It is the answer that is dropped.
    pub(crate) is_answer: bool,
}
