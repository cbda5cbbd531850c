//! Where rules have to stand for a packet and its answers to pass.

use super::{
    Mending,
    admission::Admission,
    advice,
    flow::{Flow, answer_to},
    refusal,
};
use crate::{
    decode::tracked::Tracked,
    node::ruleset::{
        Ruleset,
        meaning::Meaning,
        model::Verdict,
        owner::Owner,
        packet::HookPacket,
        suspects::{At, Suspect},
        truth::Truth,
        walk::Question,
    },
};

/// How many drops in a row are worth a rule each.
const MOST: usize = 4;

/// Rules that let the packet and its answers pass.
pub(super) fn admit(mut ruleset: Ruleset, first: &Suspect, packet: &HookPacket) -> Mending {
    let mut mending = Mending::default();
    let dropped = Probe {
        packet,
        question: Question::WhoDropped,
    };
    let known: Vec<_> = dropped.droppers(&ruleset).iter().map(|s| s.at).collect();
    let Some(place) = admit_one(&mut ruleset, first, dropped, &mut mending) else {
        return mending;
    };
    let mut added = vec![place];
    for _ in 1..MOST {
        let all = dropped.droppers(&ruleset).into_iter();
        let mut behind = all.filter(|suspect| !known.contains(&before(suspect.at, &added)));
        let (next, others) = (behind.next(), behind.next());
        let Some(next) = next else { break };
        let is_next = next.reached == Truth::Yes && others.is_none();
        if !is_next || !is_users(&next) || refusal::of(&ruleset, &next, packet).is_some() {
            let may = if is_next { "drops" } else { "may drop" };
            let rule = next.describe();
            mending
                .remarks
                .push(format!("behind it, {rule} {may} the packet"));
            mending.fixes.extend(match is_users(&next) {
                true => Vec::new(),
                false if is_next => advice::of_owner(&ruleset, &next, packet).fixes,
                false => Vec::new(),
            });
            break;
        }
        let rule = next.describe();
        mending
            .remarks
            .push(format!("behind it, {rule} drops the packet as well"));
        match admit_one(&mut ruleset, &next, dropped, &mut mending) {
            Some(place) => added.push(place),
            None => return mending,
        }
    }
    admit_answer(&mut ruleset, packet, &mut mending);
    mending
}

/// Puts a rule in front of the one that drops. Returns where it stands; `None` where there is none
/// that helps, and nothing is proposed then.
fn admit_one(
    ruleset: &mut Ruleset,
    suspect: &Suspect,
    dropped: Probe<'_>,
    mending: &mut Mending,
) -> Option<At> {
    let flow = Flow::of(dropped.packet);
    let admission = admission(ruleset, suspect, dropped, flow);
    let fix = admission.as_ref().and_then(|found| found.fix(ruleset));
    let (Some(admission), Some(fix)) = (admission, fix) else {
        mending.fixes.clear();
        mending.remarks.push(format!(
            "no rule is proposed in front of {}: it cannot be written so that it lets nothing else \
             pass, or not safely",
            suspect.describe()
        ));
        return None;
    };
    mending.fixes.push(fix);
    admission.apply(ruleset);
    Some(At {
        table: admission.table,
        chain: admission.chain,
        rule: Some(admission.position),
    })
}

/// The answers come by the same hook, or by the one on the other side of the host.
fn admit_answer(ruleset: &mut Ruleset, packet: &HookPacket, mending: &mut Mending) {
    let Some(answer) = answer_to(packet) else {
        return;
    };
    // Where nothing asks for states, the kernel keeps none.
    let answer = HookPacket {
        tracked: match packet.entry.is_some() || ruleset.asks_for_states() {
            true => Tracked::Established,
            false => Tracked::Nothing,
        },
        ..answer
    };
    let comes = |packet| Probe {
        packet,
        question: Question::WhatBecomes,
    };
    let droppers = comes(&answer).droppers(ruleset);
    let [suspect] = droppers.as_slice() else {
        return;
    };
    if suspect.reached != Truth::Yes {
        return;
    }
    let rule = suspect.describe();
    let flow = Flow::of(&answer).map(|flow| Flow {
        established: true,
        ..flow
    });
    // The rule itself asks for the state.
    let tracked = HookPacket {
        tracked: Tracked::Established,
        ..answer.clone()
    };
    let admission = match is_users(suspect) {
        true => admission(ruleset, suspect, comes(&tracked), flow),
        false => None,
    };
    let fix = admission.as_ref().and_then(|found| found.fix(ruleset));
    let remark = match fix {
        Some(_) => format!("the answers are dropped as well, by {rule}"),
        None => format!("the answers are dropped by {rule}"),
    };
    mending.remarks.push(remark);
    if let (Some(fix), Some(admission)) = (fix, admission) {
        mending.fixes.push(fix);
        admission.apply(ruleset);
    }
}

/// The rule that lets the flow get by the suspect, as late in the chain as can be.
fn admission(
    ruleset: &mut Ruleset,
    suspect: &Suspect,
    probe: Probe<'_>,
    flow: Option<Flow>,
) -> Option<Admission> {
    let At { table, chain, rule } = suspect.at;
    let rules = &ruleset.tables[table].chains[chain].rules;
    let statements = rule.map_or(&[][..], |rule| &rules[rule].statements);
    let flow = flow?.kept_to(statements, probe.packet)?;
    let at = |position: usize, ruleset: &mut Ruleset| {
        let admission = Admission {
            table,
            chain,
            position,
            flow: flow.clone(),
        };
        admission.apply(ruleset);
        let helps = !probe.is_dropped_by(ruleset, suspect.at, position);
        admission.revert(ruleset);
        helps.then_some(admission)
    };
    if let Some(rule) = rule {
        return at(rule, ruleset);
    }
    let count = rules.len();
    // What gets to a rule gets to all in front of it: the last place where it helps is looked for.
    // It helps nowhere if it does not help in front of all.
    let mut found = at(0, ruleset)?;
    let (mut helps, mut fails) = (0, count + 1);
    while fails - helps > 1 {
        let middle = helps.midpoint(fails);
        match at(middle, ruleset) {
            Some(admission) => (helps, found) = (middle, admission),
            None => fails = middle,
        }
    }
    Some(found)
}

/// A packet that is sent through the model.
#[derive(Clone, Copy)]
struct Probe<'a> {
    packet: &'a HookPacket,
    question: Question,
}

impl Probe<'_> {
    /// All that can drop it, or have dropped it, whatever counters say.
    fn droppers(self, ruleset: &Ruleset) -> Vec<Suspect> {
        let mut all = ruleset.droppers(self.packet, self.question);
        all.sort_by_key(|suspect| std::cmp::Reverse(suspect.reached));
        all
    }

    /// Whether it may still be dropped by a rule, which may have moved by the one put in.
    fn is_dropped_by(self, ruleset: &Ruleset, suspect: At, position: usize) -> bool {
        let moved = At {
            rule: suspect
                .rule
                .map(|rule| rule + usize::from(position <= rule)),
            ..suspect
        };
        let mut droppers = self.droppers(ruleset).into_iter();
        droppers.any(|dropper| dropper.at == moved)
    }
}

/// Where a rule was before others were added.
fn before(at: At, added: &[At]) -> At {
    added.iter().rev().fold(at, |at, new| {
        let is_behind = (new.table, new.chain) == (at.table, at.chain) && new.rule < at.rule;
        At {
            rule: at.rule.map(|rule| rule - usize::from(is_behind)),
            ..at
        }
    })
}

/// Whether a rule can stand in front of it and stay there. Docker sets the policy of `FORWARD` once,
/// and leaves that chain's other rules alone.
pub(super) fn is_open(suspect: &Suspect) -> bool {
    let is_policy = suspect.at.rule.is_none();
    suspect.owner == Owner::User || suspect.owner == Owner::Docker && is_policy
}

fn is_users(suspect: &Suspect) -> bool {
    is_open(suspect)
        && suspect.meaning == Meaning::Plain
        && matches!(suspect.verdict, Verdict::Drop | Verdict::Reject(_))
}
