//! What lets a packet pass a rule, and nothing else.
//!
//! Each change is tried in the model before it is proposed: the packet has to get by the rule, and
//! what stands behind it is looked at as well, as are the answers on their way back. No rule is
//! proposed in chains that another program rewrites, nor around a policy, nor for packets
//! that are refused for what they are.

mod admission;
mod advice;
mod flow;
mod name;
mod plan;
mod refusal;

pub(super) use self::flow::answer_to;
use super::{Ruleset, meaning::Meaning, model::Verdict, packet::HookPacket, suspects::Suspects};
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
    /// What to do, where one rule is left that can have dropped the packet.
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
        if !plan::is_open(suspect) {
            return advice::of_owner(self, suspect, packet);
        }
        if let Some(refusal) = refusal::of(self, suspect, packet) {
            return refusal;
        }
        plan::admit(self.clone(), suspect, packet)
    }
}
