//! What left an interface of this node and got no answer: past the rules, to a process that does not
//! read, or with a source that another host may have.

use std::net::IpAddr;

use super::{Case, silence::left_this_node};
use crate::{
    attempt::{Reply, Step},
    model::{Confidence::Likely, Direction, Fix, Flow, Outcome, Point, Site, address},
    node::bypass::Destination,
    verdict::{rule::Finding, stale_entry},
    words,
};

/// The connection's entry in conntrack leads it elsewhere than the rules do.
pub(super) fn stale_entry(case: &Case<'_>) -> Option<Finding> {
    is_silence(case).then_some(())?;
    match case.around.destination.as_ref()? {
        Destination::Kept(bypass) => Some(stale_entry::finding(bypass)),
        Destination::Untranslated => None,
    }
}

pub(super) fn entry_follows_the_rules(case: &Case<'_>) -> Option<String> {
    let untranslated = matches!(case.around.destination, Some(Destination::Untranslated));
    untranslated.then(|| "neither the rules nor an entry translate its destination".to_owned())
}

/// It waits in the ring of a tun device that its process does not read.
pub(super) fn unread_tun(case: &Case<'_>) -> Option<Finding> {
    is_silence(case).then_some(())?;
    let tun = case.around.tun.as_ref().filter(|tun| tun.is_stuck())?;
    let waiting = tun.waiting?;
    let reader = tun.reader();
    let why = match tun.dropped {
        0 => format!(
            "it waits in the ring of {}: {reader} does not read",
            tun.name
        ),
        _ => format!("the ring of {} is full: {reader} does not read", tun.name),
    };
    let mut finding = Finding::new(Point::Queue, Likely, why).about(&[&tun.name]);
    let packets = |number| words::count(number, "packet");
    finding.fact(format!(
        "of what was sent by {}, {} wait in its ring, {} were read, {} found it full",
        tun.name,
        packets(waiting),
        packets(tun.read),
        packets(tun.dropped)
    ));
    finding
        .fix
        .push(Fix::advice(format!("look at {reader}: restart it if it hangs")).at(Site::Host));
    Some(finding)
}

pub(super) fn tun_is_read(case: &Case<'_>) -> Option<String> {
    let tun = case.around.tun.as_ref().filter(|tun| !tun.is_stuck())?;
    let (when, read) = match tun.read_meanwhile {
        Some(read) => ("just ", read),
        None => ("", tun.read),
    };
    Some(format!(
        "{} has {when}read {} from {}",
        tun.reader(),
        words::count(read, "packet"),
        tun.name
    ))
}

/// It left with a translated source that is one of several addresses of its interface.
pub(super) fn shared_source(case: &Case<'_>) -> Option<Finding> {
    let last = case.attempt.last_hop()?;
    let is_flooded = is_flooded(case, last);
    (is_silence(case) || is_flooded).then_some(())?;
    // Of an answer, the destination is the source in question.
    let has_holder = !is_flooded && case.around.destination_holder.is_some();
    (last.place.dir == Direction::Out && !has_holder).then_some(())?;
    let src = IpAddr::from(last.flow.src);
    let is_translated = case.attempt.flow.src != last.flow.src;
    let addresses = &case.around.last_interface.as_ref()?.addresses;
    (is_translated && addresses.contains(&src)).then_some(())?;
    let other = addresses
        .iter()
        .find(|other| **other != src && is_global(**other) && other.is_ipv4() == src.is_ipv4())?;
    let ifname = &last.place.ifname;
    let came = match is_flooded {
        true => format!("no host here took the answer that came by {ifname}"),
        false => "nothing came back".to_owned(),
    };
    let why = format!(
        "it left this node by {ifname} with the translated source {src}, not {other}, and {came}: the \
         answer goes to whichever host has {src}"
    );
    let mut evidence = vec![format!(
        "{src} is one of several addresses of {ifname}; a virtual address may be on another host, \
         too"
    )];
    evidence.extend(left_this_node(case, last).into_iter().flatten());
    evidence.push("no drop of it was seen on this node".to_owned());
    Some(Finding {
        evidence,
        fix: vec![Fix::advice(format!(
            "if another host has {src}, too: translate the source to this node's own address (SNAT \
             --to-source {other} in place of MASQUERADE)"
        ))],
        ..Finding::new(Point::OffNode, Likely, why).about(&[&ifname, &src])
    })
}

/// The answer came in where the packet had left, and was seen nowhere else: a switch floods what is
/// for an address that it does not know.
fn is_flooded(case: &Case<'_>, last: &Step) -> bool {
    let is_answer = matches!(case.attempt.reply, Some(Reply::Answer(_)));
    let [only] = case.attempt.reply_hops.as_slice() else {
        return false;
    };
    case.outcome == Outcome::Unanswered && is_answer && only.place.is_reverse_of(&last.place)
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_loopback(),
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_loopback(),
    }
}

/// What else is known of a packet that left: whether anything translated it, and who read it.
pub(super) fn in_words(case: &Case<'_>, last: &Step) -> Vec<String> {
    let mut words = Vec::new();
    if case.around.destination == Some(Destination::Untranslated) {
        let flow = Flow::from(&last.flow);
        words.push(format!(
            "no rule translates {}",
            address(flow.destination())
        ));
    }
    if let Some(tun) = &case.around.tun {
        words.push(format!(
            "what leaves through {} is read by {}: whether that sent it on cannot be seen",
            tun.name,
            tun.reader()
        ));
    }
    words
}

pub(super) fn is_silence(case: &Case<'_>) -> bool {
    case.outcome == Outcome::Unanswered && case.attempt.reply.is_none()
}
