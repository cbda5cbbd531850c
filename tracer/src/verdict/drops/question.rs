//! The question for a packet's next hop was dropped: then whatever dropped the question has
//! cost the packet that waited for the answer, too.

use std::net::IpAddr;

use super::{
    Concern, Finding, dead_redirect,
    other_host::repair,
    path::lacks_neighbor,
    program::{left_behind, removal},
};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Likely, Fix, Hook, Point, Protocol},
    node::{
        facts::NodeFacts,
        programs::Program,
        way::{Because, End, Refused, Unanswered, Way},
        world::{LinkId, World},
    },
    words,
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

/// A rule or a program on the question's way keeps it, or the answer to it; or the answer goes elsewhere.
pub(super) fn refused(_: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let world = node.world.as_deref()?;
    let unanswered = node.ways.iter().find_map(unanswered)?;
    let by_rule = unanswered.refused.as_ref();
    by_rule
        .map(|refused| by_a_rule(world, unanswered, refused))
        .or_else(|| {
            let (link, program) = unanswered.program.as_ref()?;
            Some(by_a_program(world, unanswered, *link, program))
        })
        .or_else(|| by_an_entry(world, unanswered))
}

fn unanswered(way: &Way) -> Option<&Unanswered> {
    match &way.end {
        End::Dropped {
            because: Because::Unanswered(unanswered),
            ..
        } => Some(unanswered),
        _ => None,
    }
}

/// What asks for an address.
fn question(unanswered: &Unanswered) -> &'static str {
    match unanswered.hop.is_ipv4() {
        true => "ARP request",
        false => "Neighbor Solicitation",
    }
}

pub(in crate::verdict) fn by_a_rule(
    world: &World,
    unanswered: &Unanswered,
    refused: &Refused,
) -> Finding {
    let hop = unanswered.hop;
    let question = question(unanswered);
    let what = match refused.is_answer {
        true => format!("the answer to the {question} for {hop}"),
        false => format!("the {question} for {hop}"),
    };
    let netns = world.namespace(refused.netns);
    let netns = netns.map_or_else(String::new, |one| {
        format!(" of {}", words::namespace(&one.name))
    });
    let why = format!(
        "{what} is dropped in {}{netns} by {}",
        refused.hook.name(),
        refused.by.text
    );
    Finding {
        evidence: waits(world, unanswered),
        fix: vec![
            Fix::advice(match refused.by.by_policy {
                true => "accept ICMPv6 types 135 and 136 (neighbor discovery) in that chain",
                false => {
                    "accept ICMPv6 types 135 and 136 (neighbor discovery) in front of that rule"
                }
            })
            .at(world.site(refused.netns)),
        ],
        ..Finding::new(Point::Firewall, Likely, why).about(&[&hop, &refused.by.text])
    }
}

pub(in crate::verdict) fn by_a_program(
    world: &World,
    unanswered: &Unanswered,
    link: LinkId,
    program: &Program,
) -> Finding {
    let hop = unanswered.hop;
    let leads_nowhere = program.leads_nowhere();
    let owner = program.owner();
    let point = match owner {
        _ if leads_nowhere.is_some() => Point::Route,
        Some(owner) if owner.is_policy_engine => Point::Policy,
        _ => Point::Firewall,
    };
    let whose = owner.map(|owner| format!(" of {}", owner.name));
    let at = world.link_name(link, unanswered.from.netns);
    let meets = match leads_nowhere.map(dead_redirect::in_words) {
        Some((to, state)) => format!("a filter of tc at {at} that sends it to {to}, which {state}"),
        None => format!(
            "a program{} at {at}, and is not answered{}",
            whose.unwrap_or_default(),
            left_behind(program)
        ),
    };
    let why = format!("the {} for {hop} meets {meets}", question(unanswered));
    let mut evidence = vec![format!("attached there: {program}")];
    evidence.extend(waits(world, unanswered));
    let ifname = world.link(link).map(|link| link.name.as_str());
    let fix = ifname.and_then(|ifname| match leads_nowhere {
        Some(redirect) => dead_redirect::repair(program, redirect, ifname),
        None => removal(program, ifname),
    });
    Finding {
        evidence,
        fix: fix
            .map(|fix| fix.at(world.site(link.netns)))
            .into_iter()
            .collect(),
        ..Finding::new(point, Likely, why).about(&[&hop, &at])
    }
}

pub(in crate::verdict) fn by_an_entry(world: &World, unanswered: &Unanswered) -> Option<Finding> {
    let misdirected = unanswered.misdirected.as_ref()?;
    let answerer = world.namespace(misdirected.at.netns)?;
    let hop = unanswered.hop;
    let why = format!(
        "the answer to the Neighbor Solicitation for {hop} is sent elsewhere: {}",
        misdirected.in_words(world, unanswered.from.netns)
    );
    let asks = world.link(unanswered.from)?;
    Some(Finding {
        evidence: asks
            .mac
            .iter()
            .map(|mac| format!("{} asks with the MAC address {mac}", asks.name))
            .collect(),
        fix: vec![repair(world, answerer, &misdirected.entry)],
        ..Finding::new(Point::Endpoint, Likely, why).about(&[&hop, &misdirected.entry.address])
    })
}

/// Who would have answered.
fn waits(world: &World, unanswered: &Unanswered) -> Vec<String> {
    let reader = unanswered.from.netns;
    let holders = unanswered.holders.iter();
    holders
        .map(|(holder, _)| {
            format!(
                "{} is an address of {}, which can be reached from here",
                unanswered.hop,
                world.holder_in_words(holder, reader)
            )
        })
        .collect()
}
