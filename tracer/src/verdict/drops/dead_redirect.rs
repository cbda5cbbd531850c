//! A filter of tc sends packets to an interface that takes none: one that shapes traffic there (`ifb`)
//! is down, or has gone while the filter stayed.

use super::{
    Concern, Finding,
    program::{droppers, removal},
};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point,
        shell::Command,
    },
    node::{
        facts::NodeFacts,
        programs::{Program, Redirect},
    },
    words,
};

pub(super) fn may_lead_nowhere(facts: &DropFacts) -> Concern {
    Concern::maybe(matches!(facts.reason.name(), "TC_INGRESS" | "TC_EGRESS"))
}

/// The only filter there that drops leads to it.
pub(super) fn leads_nowhere(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let ifname = facts.ifname.as_deref()?;
    let [only] = droppers(facts, node)[..] else {
        return None;
    };
    let redirect = only.leads_nowhere()?;
    let (to, state) = in_words(redirect);
    let why = format!("a filter of tc at {ifname} sends packets to {to}, which {state}");
    let confidence = match redirect.refused {
        0 => Likely,
        _ => Confirmed,
    };
    let mut finding = Finding::new(Point::Route, confidence, why).about(&[&ifname, &to]);
    finding.fact(format!("attached there: {only}"));
    if redirect.refused > 0 {
        let packets = words::count(redirect.refused.into(), "packet");
        finding.fact(format!("that filter could not send {packets}"));
    }
    finding.fix.extend(repair(only, redirect, ifname));
    Some(finding)
}

/// Every filter there leads to an interface that takes packets, or there is none.
pub(super) fn all_lead_somewhere(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let redirects = node.around.programs.iter();
    let mut redirects = redirects
        .filter_map(|program| program.redirect.as_ref())
        .peekable();
    let first = redirects.peek()?.to.clone()?;
    redirects
        .all(|redirect| redirect.is_up)
        .then(|| format!("{first}, which a filter sends packets to, is up"))
}

/// The interface, and what is the matter with it.
pub(in crate::verdict) fn in_words(redirect: &Redirect) -> (&str, &'static str) {
    match &redirect.to {
        Some(name) => (name, "is down"),
        None => ("an interface", "has gone"),
    }
}

/// Sets it up; where it has gone, the filter is to go, too.
pub(in crate::verdict) fn repair(
    program: &Program,
    redirect: &Redirect,
    ifname: &str,
) -> Option<Fix> {
    let Some(name) = &redirect.to else {
        return removal(program, ifname).or_else(|| {
            Some(Fix::advice(format!(
                "make the interface again that limits the rate of {ifname}, or remove the filter \
                 (`tc filter show dev {ifname}`)"
            )))
        });
    };
    let set = |state: &'static str| Command::new("ip link set dev").arg(name).words(state);
    Some(Fix::change(set("up"), set("down")))
}
