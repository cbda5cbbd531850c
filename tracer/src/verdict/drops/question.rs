//! The question for a packet's next hop was dropped: then whatever dropped the question has
//! cost the packet that waited for the answer, too.

use std::net::IpAddr;

use super::{Concern, Finding, path::lacks_neighbor, unanswered};
use crate::{
    decode::drop::DropFacts,
    model::{Hook, Protocol},
    node::{
        facts::NodeFacts,
        way::{Because, End, Refused, Unanswered, Way},
    },
};

/// A question for a neighbor, or an answer to one, that a netfilter hook has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostQuestion {
    /// The address that is asked for.
    pub(crate) target: IpAddr,
    /// The namespace.
    pub(crate) netns: u32,
    /// The hook.
    pub(crate) hook: Hook,
    /// It is the answer.
    pub(crate) is_answer: bool,
}

impl LostQuestion {
    /// The one that a drop has taken, if it has taken one.
    pub(crate) fn of(facts: &DropFacts) -> Option<Self> {
        (facts.flow.proto == Protocol::Icmpv6).then_some(())?;
        let (netns, hook) = facts.netns.zip(facts.hook)?;
        let (target, is_answer) = facts.asks_for()?;
        Some(Self {
            target,
            netns,
            hook,
            is_answer,
        })
    }

    /// Whether it is the one for this next hop, and was dropped where the model has it dropped.
    pub(in crate::verdict) fn is_by(&self, hop: IpAddr, refused: &Refused) -> bool {
        (self.target, self.netns, self.hook, self.is_answer)
            == (hop, refused.netns, refused.hook, refused.is_answer)
    }

    pub(in crate::verdict) fn in_words(self) -> String {
        let what = match self.is_answer {
            true => "Neighbor Advertisement",
            false => "Neighbor Solicitation",
        };
        format!(
            "a {what} for {} was seen to be dropped at {} there",
            self.target,
            self.hook.name()
        )
    }
}

pub(super) fn may_be_refused(facts: &DropFacts) -> Concern {
    Concern::maybe(lacks_neighbor(facts) != Concern::No)
}

/// What keeps the question, or the answer to it, from its end.
pub(super) fn refused(_: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let unanswered = node.ways.iter().find_map(in_vain)?;
    unanswered::cause(node.world.as_deref()?, unanswered)
}

fn in_vain(way: &Way) -> Option<&Unanswered> {
    match &way.end {
        End::Dropped {
            because: Because::Unanswered(unanswered),
            ..
        } => Some(unanswered),
        _ => None,
    }
}
