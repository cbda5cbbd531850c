//! What only the kernel can answer.

use super::Packet;
use crate::{
    model::{Flow, Hook},
    net::RouteKey,
    node::{programs::Program, route::Lookup, world::Link},
};

/// Answers the questions of a walk. An error says in a sentence, without its end, why there is no
/// answer.
pub(crate) trait Kernel {
    /// The route of a packet in a namespace.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked.
    fn route(&self, netns: u32, key: RouteKey) -> Result<Lookup, String>;

    /// What the rules at a hook make of a packet.
    fn pass(&self, at: &AtHook, packet: &Packet) -> Judgment;

    /// The tc and XDP programs at a link that may drop what comes in through it, or goes out.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn programs(&self, link: &Link, is_ingress: bool) -> Result<Vec<Program>, String>;
}

/// A netfilter hook, as a packet comes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AtHook {
    /// The namespace.
    pub(crate) netns: u32,
    /// The hook.
    pub(crate) hook: Hook,
    /// Name of the link that the packet came in through.
    pub(crate) input: Option<String>,
    /// Name of the link that it leaves through, where that is decided.
    pub(crate) output: Option<String>,
    /// Names of the bridge ports, where a bridge passes the packet to the hook.
    pub(crate) ports: Option<(Option<String>, Option<String>)>,
}

/// What drops a packet at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DroppedBy {
    /// The rule or the policy, in words; or several, of which the first that is reached drops it.
    pub(crate) text: String,
    /// A chain's policy is among them.
    pub(crate) by_policy: bool,
    /// It sends an error back (`reject`); where there are several, all of them do.
    pub(crate) rejects: bool,
    /// Packets that it has dropped so far, if it is a single one that counts them.
    pub(crate) counter: Option<u64>,
}

/// What the rules at a hook make of a packet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Judgment {
    /// It passes, changed perhaps. There are several where a rule chooses one of them.
    Passes(Vec<Packet>),
    /// It passes as the connection's entry in conntrack says. For a new connection, the rules say
    /// something else: the other flow.
    PassesByEntry(Packet, Flow),
    /// It passes untranslated, as this rule exempts it from tracking; without that rule, other rules
    /// would send it to the flow's destination.
    PassesUntracked(Packet, String, Flow),
    /// This drops it.
    Drops(DroppedBy),
    /// It cannot be decided, because this is unknown.
    Undecided(String),
}
