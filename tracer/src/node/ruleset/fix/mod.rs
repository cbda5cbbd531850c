//! What lets a packet pass a rule, and nothing else.
//!
//! Each change is tried in the model before it is proposed: the packet has to get by the rule, and
//! what stands behind it is looked at as well, as are the answers on their way back. No rule is
//! proposed in chains that another program rewrites, nor around a policy, nor for packets
//! that are refused for what they are.

mod admission;
mod advice;
mod bridged;
mod calico;
mod elsewhere;
mod flow;
mod name;
mod plan;
mod refusal;

pub(super) use self::flow::answer_to;
use super::{
    Ruleset,
    meaning::Meaning,
    model::{Statement, Verdict},
    packet::HookPacket,
    suspects::{Suspect, Suspects},
};
use crate::model::Fix;

/// What to do about a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mending {
    /// In the order in which they are to be done.
    pub(crate) fixes: Vec<Fix>,
    /// What to know besides, a sentence each.
    pub(crate) remarks: Vec<String>,
}

impl Ruleset {
    /// What to do, where one rule is left that could have dropped the packet.
    pub(crate) fn mend(&self, suspects: &Suspects, packet: &HookPacket) -> Mending {
        let [suspect] = suspects.rules.as_slice() else {
            return Mending::default();
        };
        if !suspects.certain || matches!(suspect.verdict, Verdict::Queue | Verdict::Proxy(_)) {
            return Mending::default();
        }
        if suspect.meaning != Meaning::Plain {
            return Mending::default();
        }
        let mut mending = self.mend_plain(suspect, packet);
        if let Some(rule) = elsewhere::accepting(self, suspect, packet) {
            mending.remarks.insert(
                0,
                format!(
                    "it is accepted in another table, which does not help, as each table at the hook \
                     decides for itself: {rule}"
                ),
            );
        }
        mending
    }

    /// The same for a rule that is a firewall's.
    fn mend_plain(&self, suspect: &Suspect, packet: &HookPacket) -> Mending {
        if is_neighbor_discovery(packet) {
            return advice::of_neighbor_discovery(suspect);
        }
        if !plan::is_open(suspect) {
            return advice::of_owner(self, suspect, packet);
        }
        if let Some(refusal) = refusal::of(self, suspect, packet) {
            return refusal;
        }
        if packet.is_bridged()
            && is_for_everything(self, suspect)
            && let Some(mending) = bridged::past_iptables(self, packet)
        {
            return mending;
        }
        plan::admit(self.clone(), suspect, packet)
    }
}

/// Without them, no host finds another one's MAC address (RFC 4861).
fn is_neighbor_discovery(packet: &HookPacket) -> bool {
    packet.ends.dst.is_ipv6() && matches!(packet.icmp, Some((133..=137, _)))
}

/// A policy, or a rule without conditions: it was not meant for bridged frames.
fn is_for_everything(ruleset: &Ruleset, suspect: &Suspect) -> bool {
    let chain = &ruleset.tables[suspect.at.table].chains[suspect.at.chain];
    let rule = suspect.at.rule.map(|rule| &chain.rules[rule]);
    let mut statements = rule.iter().flat_map(|rule| &rule.statements);
    !statements.any(|statement| matches!(statement, Statement::Match(_)))
}
