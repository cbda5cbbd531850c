//! The rule that gave a packet the mark for which another one drops it, as kube-proxy's
//! `KUBE-MARK-DROP` does for the kubelet's `KUBE-FIREWALL`.

use std::sync::Arc;

use super::{
    Ruleset,
    condition::{Condition, Mark},
    model::{MarkChange, Rule, Statement},
    packet::{Device, HookPacket, Translation},
    suspects::Suspect,
    walk::{MOST_MARKS, Marked, Question, Walk},
};
use crate::model::Hook;

/// Why a packet has the mark that a rule drops it for.
#[derive(Clone, Debug)]
pub(crate) struct Marking {
    /// The bits that the dropping rule asks for.
    pub(crate) bits: u32,
    /// The rule that decided it: the one that jumps to the chain that marks, or marks by itself.
    pub(crate) rule: Suspect,
    /// The Service that this rule is about, and the sources that it admits.
    pub(crate) sources: Option<SourceRanges>,
}

/// What `loadBalancerSourceRanges` of a Service has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceRanges {
    /// The Service, as `namespace/name:port`.
    pub(crate) service: String,
    /// The networks that may use it.
    pub(crate) admitted: Vec<String>,
}

/// Reads the rules that a packet meets at its hook.
pub(crate) type ReadRules<'a> = &'a dyn Fn(&HookPacket) -> Option<Arc<Ruleset>>;

impl Ruleset {
    /// The only rule that can have set the mark for which the suspect drops the packet. It may be one at
    /// an earlier hook, whose rules are read for that.
    pub(crate) fn marking(
        &self,
        suspect: &Suspect,
        packet: &HookPacket,
        read: ReadRules<'_>,
    ) -> Option<Marking> {
        let dropping = self.rule(suspect)?;
        let (bits, mask) = asked(dropping)?;
        (packet.mark? & mask == bits).then_some(())?;
        let mut found: Vec<(Marked, HookPacket, Arc<Self>)> = Vec::new();
        for packet in before(packet) {
            let rules = read(&packet)?;
            let walk = Walk::new(&rules, &packet, Question::WhatBecomes, |_| true);
            (walk.marked.len() < MOST_MARKS).then_some(())?;
            let setters = walk
                .marked
                .iter()
                .filter(|marked| sets(&marked.change, bits));
            let setters =
                setters.map(|marked| (marked.clone(), packet.clone(), Arc::clone(&rules)));
            found.extend(setters.collect::<Vec<_>>());
        }
        if found.iter().any(|(marked, ..)| marked.is_sure) {
            found.retain(|(marked, ..)| marked.is_sure);
        }
        let [(only, packet, rules)] = found.as_slice() else {
            return None;
        };
        let decides = match (only.by, rules.has_conditions(only.place)) {
            (Some(by), false) => by,
            _ => only.place,
        };
        let rule = rules.that_takes(decides, packet);
        let sources = rules.source_ranges(&rule.chain);
        Some(Marking {
            bits,
            rule,
            sources,
        })
    }

    /// The sources that kube-proxy admits to a load balancer's address, where a rule is about them: its
    /// chain for that, or the one that drops what the chain did not take.
    pub(crate) fn sources_of(
        &self,
        suspect: &Suspect,
        packet: &HookPacket,
        read: ReadRules<'_>,
    ) -> Option<SourceRanges> {
        let comment = self.rule(suspect)?.comment.as_deref()?;
        let (_, chain) = comment.split_once(" traffic not accepted by ")?;
        let first = before(packet).into_iter().next()?;
        read(&first)?.source_ranges(chain)
    }

    fn source_ranges(&self, name: &str) -> Option<SourceRanges> {
        name.starts_with("KUBE-FW-").then_some(())?;
        let mut tables = self.tables.iter();
        let chain = tables.find_map(|table| Some(&table.chains[table.chain(name)?]))?;
        let mut comments = chain
            .rules
            .iter()
            .filter_map(|rule| rule.comment.as_deref());
        let service = comments.find_map(|comment| comment.strip_suffix(" loadbalancer IP"))?;
        let admitted = chain.rules.iter().filter_map(|rule| {
            let mut words = rule.text.split(' ');
            words.find(|word| *word == "-s")?;
            words.next().map(str::to_owned)
        });
        Some(SourceRanges {
            service: service.to_owned(),
            admitted: admitted.collect(),
        })
    }

    fn has_conditions(&self, [table, chain, rule, _]: [usize; 4]) -> bool {
        let rule = &self.tables[table].chains[chain].rules[rule];
        let mut statements = rule.statements.iter();
        statements.any(|statement| matches!(statement, Statement::Match(_)))
    }

    pub(super) fn rule(&self, suspect: &Suspect) -> Option<&Rule> {
        let chain = &self.tables[suspect.at.table].chains[suspect.at.chain];
        chain.rules.get(suspect.at.rule?)
    }
}

/// The bits of the packet's mark that a rule asks to be set, and those that it looks at.
fn asked(rule: &Rule) -> Option<(u32, u32)> {
    let mut conditions = rule.statements.iter();
    conditions.find_map(|statement| match statement {
        Statement::Match(Condition::Mark {
            of: Mark::Packet,
            mask,
            value,
            negated: false,
        }) if value & mask != 0 => Some((value & mask, *mask)),
        _ => None,
    })
}

/// Whether it sets these bits, whatever the mark was before.
fn sets(change: &MarkChange, bits: u32) -> bool {
    let is_known = change.from.is_none() && change.known & bits == bits;
    change.to == Mark::Packet && is_known && change.keep & bits == 0 && change.xor & bits == bits
}

/// The packet at the hooks that it passed before it was dropped, and at this one.
pub(super) fn before(packet: &HookPacket) -> Vec<HookPacket> {
    let is_own = packet.input == Device::None;
    let hooks: &[Hook] = match packet.hook {
        Some(Hook::Prerouting) => &[Hook::Prerouting],
        Some(Hook::Input) => &[Hook::Prerouting, Hook::Input],
        Some(Hook::Forward) => &[Hook::Prerouting, Hook::Forward],
        Some(Hook::Output) => &[Hook::Output],
        Some(Hook::Postrouting) if is_own => &[Hook::Output, Hook::Postrouting],
        Some(Hook::Postrouting) => &[Hook::Prerouting, Hook::Forward, Hook::Postrouting],
        _ => &[],
    };
    let original = packet.entry.filter(|entry| !entry.is_reply);
    let at = |hook: &Hook| {
        let is_first = matches!(hook, Hook::Prerouting | Hook::Output);
        HookPacket {
            hook: Some(*hook),
            ends: original
                .filter(|_| is_first)
                .map_or(packet.ends, |entry| entry.original),
            output: match hook {
                Hook::Prerouting | Hook::Input => Device::None,
                _ => packet.output.clone(),
            },
            // Rules change it on the way.
            mark: None,
            nat: Translation::default(),
            ..packet.clone()
        }
    };
    hooks.iter().map(at).collect()
}
