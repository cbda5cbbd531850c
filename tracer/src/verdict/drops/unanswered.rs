//! Why the question for a packet's next hop gets no answer, where the model of the node shows it.

use std::net::IpAddr;

use super::{
    Finding, dead_redirect,
    other_host::repair,
    program::{left_behind, removal},
};
use crate::{
    model::{Confidence::Likely, Fix, Point},
    node::{
        programs::Program,
        way::{Refused, Unanswered},
        world::{AddressFlags, LinkId, World},
    },
    words,
};

/// A rule or a program on the question's way keeps it, or the answer to it; the answer goes elsewhere;
/// or nothing is asked.
pub(in crate::verdict) fn cause(world: &World, unanswered: &Unanswered) -> Option<Finding> {
    if let Some(refused) = &unanswered.refused {
        return Some(by_a_rule(world, unanswered, refused));
    }
    if let Some((link, program)) = &unanswered.program {
        return Some(by_a_program(world, unanswered, *link, program));
    }
    by_an_entry(world, unanswered).or_else(|| not_asked(world, unanswered))
}

/// What asks for an address.
fn question(unanswered: &Unanswered) -> &'static str {
    match unanswered.hop.is_ipv4() {
        true => "ARP request",
        false => "Neighbor Solicitation",
    }
}

fn by_a_rule(world: &World, unanswered: &Unanswered, refused: &Refused) -> Finding {
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

fn by_a_program(
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

/// An interface without a link-local address asks for no neighbor.
fn not_asked(world: &World, unanswered: &Unanswered) -> Option<Finding> {
    unanswered.lacks_source.then_some(())?;
    let link = world.link(unanswered.from)?;
    let held = world.namespace(link.id.netns)?.addresses.iter();
    let own = held.filter(|held| held.ifindex == link.id.ifindex && is_link_local(held.address));
    let why = format!(
        "{} sends no Neighbor Solicitation for {}: it has no usable link-local address",
        link.name, unanswered.hop
    );
    let detection = own.clone().any(|held| !held.flags.is_usable());
    let advice = match detection {
        true => format!(
            "give {} a MAC address that is its own: duplicate address detection refused its link-local \
             address, or has not finished",
            link.name
        ),
        false => format!(
            "set net.ipv6.conf.{}.addr_gen_mode to 0, or add a link-local address",
            link.name
        ),
    };
    Some(Finding {
        evidence: own
            .map(|held| {
                format!(
                    "{} has {} ({})",
                    link.name,
                    held.address,
                    in_use(held.flags)
                )
            })
            .collect(),
        fix: vec![Fix::advice(advice).at(world.site(link.id.netns))],
        ..Finding::new(Point::Route, Likely, why).about(&[&unanswered.hop, &link.name])
    })
}

fn in_use(flags: AddressFlags) -> &'static str {
    match flags {
        AddressFlags {
            dadfailed: true, ..
        } => "dadfailed",
        _ if !flags.is_usable() => "tentative",
        _ => "in use",
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn by_an_entry(world: &World, unanswered: &Unanswered) -> Option<Finding> {
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
