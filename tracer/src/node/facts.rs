//! What the node knows that a dropped packet does not say: gathered once for drops that are alike.

mod read;
mod rules;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{
    bypass::{Destination, Leads},
    conntrack::{Connection, Conntrack},
    gather::{DropContext, Fact},
    proxy::DeadProxy,
    queue_program::QueueProgram,
    ruleset::{Marking, Mending, SourceRanges, Suspect, Suspects, Unestablished, model::Proxy},
    translation::LostTranslation,
    way::Way,
    world::World,
};
use crate::{
    decode::{
        drop::{DropFacts, SentBack},
        tracked::Tracked,
        untranslated::Untranslated,
    },
    kernel::probes::query::LoadedProgram,
    model::{Hook, Protocol, Reason},
    net::ConntrackEntry,
};

/// What makes two drops ask the same of the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    netns: u32,
    reason: Reason,
    function: Option<String>,
    hook: Option<Hook>,
    ifname: Option<String>,
    src: IpAddr,
    dst: IpAddr,
    dport: Option<u16>,
    proto: Protocol,
    tracked: Tracked,
    untranslated: Option<Box<Untranslated>>,
    sent_back: Option<SentBack>,
}

/// What was read of the node for one drop. What could not be read is `None`, and said in `gaps`.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeFacts {
    /// The netfilter rules that could have dropped it.
    pub(crate) suspects: Option<Suspects>,
    /// What NAT makes of its destination, where its connection's entry was there before.
    pub(crate) destination: Option<Destination>,
    /// The rule that led it to its destination, where it was another one before.
    pub(crate) leads: Option<Leads>,
    /// The rules that sent it to a proxy which is not there.
    pub(crate) proxies: Vec<DeadProxy>,
    /// The rules that may have given a packet the socket of a proxy, if it was forwarded in vain.
    pub(crate) proxied: Vec<(Suspect, Proxy)>,
    /// The BPF programs at netfilter hooks, where no rule could have dropped it.
    pub(crate) netfilter_programs: Vec<LoadedProgram>,
    /// Why it has the mark for which the only rule that is left drops it.
    pub(crate) marking: Option<Box<Marking>>,
    /// The sources that the Service admits which that rule is about.
    pub(crate) sources: Option<SourceRanges>,
    /// Why conntrack does not call it established, where it would pass otherwise.
    pub(crate) unestablished: Option<Unestablished>,
    /// `nf_conntrack_tcp_timeout_established`, in seconds, where that matters.
    pub(crate) idle_timeout: Option<u64>,
    /// What would let it pass, where one rule is left.
    pub(crate) mending: Mending,
    /// Routes, neighbors, tunnels, programs and queues around it.
    pub(crate) around: DropContext,
    /// How full the conntrack table of the namespace is.
    pub(crate) conntrack: Option<Conntrack>,
    /// What conntrack has of the connection of a packet that a rule drops as invalid.
    pub(crate) connection: Option<Connection>,
    /// The connection that a packet without an entry, which no socket takes, answers.
    pub(crate) answered: Option<ConntrackEntry>,
    /// What has become of its connection's translation, if that is gone.
    pub(crate) lost_translation: Option<LostTranslation>,
    /// The program that decided about it behind an NFQUEUE.
    pub(crate) queue_program: Option<QueueProgram>,
    /// The whole node: all namespaces that can be entered.
    pub(crate) world: Option<Arc<World>>,
    /// The ways that the node has for such a packet.
    pub(crate) ways: Vec<Way>,
    /// Its rules are still being read: a later drop can have them.
    pub(crate) lacks_rules: bool,
    /// What nf_tables calls its rules, while they are being read.
    pub(crate) generation: Option<u32>,
    /// Why something is missing, a sentence each.
    pub(crate) gaps: Vec<String>,
}

/// What is asked of the node about a drop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wants(pub(crate) BTreeSet<Fact>);

impl Subject {
    /// What makes this drop ask the same as others; `None` if its namespace is not known.
    pub(crate) fn of(facts: &DropFacts) -> Option<Self> {
        Some(Self {
            netns: facts.netns?,
            reason: facts.reason.clone(),
            function: facts.function.clone(),
            hook: facts.hook,
            ifname: facts.ifname.clone(),
            src: facts.flow.src,
            dst: facts.flow.dst,
            dport: facts.flow.dport,
            proto: facts.flow.proto,
            tracked: facts.tracked,
            untranslated: facts.untranslated.map(Box::new),
            sent_back: facts.sent_back,
        })
    }
}

impl NodeFacts {
    /// Whether reading it anew, after another such drop, may say more.
    pub(crate) fn is_open(&self) -> bool {
        self.suspects.as_ref().is_some_and(Suspects::are_open)
    }
}
