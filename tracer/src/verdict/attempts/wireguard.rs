//! What left through a WireGuard device and got no answer: it is encrypted, so that what becomes of it
//! below is not seen. The device's peer, and this node's routes and rules, say more.

use super::{
    Case,
    departure::is_silence,
    silence::left_this_node,
    way::{Ending, Model, fix},
};
use crate::{
    attempt::Step,
    model::{Confidence::Likely, Fix, Flow, Point, Site, address},
    node::{
        way::End,
        wireguard::{Encrypted, Peer},
    },
    verdict::rule::Finding,
    words,
};

/// The encrypted packets end on this node.
pub(super) fn blocked(case: &Case<'_>) -> Option<Finding> {
    let (encrypted, last) = seen(case)?;
    let carrier = encrypted.peer.carrier?;
    let walked = encrypted.walked.as_ref()?;
    let [way] = walked.ways.as_slice() else {
        return None;
    };
    let model = Model::on_node(&walked.world, way, case.around, None);
    let Ending::Here(end @ End::Dropped { netns, because, .. }) = model.end else {
        return None;
    };
    let end = end.in_words(&walked.world);
    let ifname = &last.place.ifname;
    let why = format!(
        "{ifname} encrypts it, and {} from {} to {} is {end}",
        carrier.proto,
        address(carrier.source()),
        address(carrier.destination()),
    );
    let mut finding =
        Finding::new(Point::Overlay, Likely, why).about(&[ifname, &carrier.dst, &end]);
    finding.fact("the routes and rules were read after the packet: they may have changed since");
    finding.fact(handshake(&encrypted.peer));
    finding.fix.extend(fix(&walked.world, *netns, because));
    if finding.fix.is_empty() {
        let site = walked.world.site(*netns);
        finding.fix.push(Fix::advice(opened(&carrier)).at(site));
    }
    Some(finding)
}

/// The peer does not answer.
pub(super) fn no_handshake(case: &Case<'_>) -> Option<Finding> {
    let (encrypted, last) = seen(case)?;
    let peer = &encrypted.peer;
    peer.is_silent().then_some(())?;
    let ifname = &last.place.ifname;
    let why = format!(
        "the WireGuard peer of {ifname} at {} does not answer: {}",
        peer.endpoint,
        handshake(peer)
    );
    let mut finding = Finding::new(Point::Overlay, Likely, why).about(&[ifname, &peer.endpoint]);
    finding.fact(format!(
        "it is the peer whose allowed IPs have {}",
        Flow::from(&last.flow).dst
    ));
    finding
        .evidence
        .extend(left_this_node(case, last).into_iter().flatten());
    finding.fix.extend(peer.carrier.map(|carrier| {
        let text = format!(
            "{} (security group, router, the far end's firewall)",
            opened(&carrier)
        );
        Fix::advice(text).at(Site::Beyond)
    }));
    finding.fix.push(
        Fix::advice(format!(
            "compare the two ends' keys and ports, and whether WireGuard runs at {}",
            peer.endpoint.ip()
        ))
        .at(Site::BothNodes),
    );
    Some(finding)
}

/// What the peer is, for a packet that left through a WireGuard device, and the last place where it was
/// seen.
fn seen<'a>(case: &Case<'a>) -> Option<(&'a Encrypted, &'a Step)> {
    is_silence(case).then_some(())?;
    Some((case.around.encrypted.as_ref()?, case.attempt.last_hop()?))
}

/// When the last handshake was, as a clause.
pub(super) fn handshake(peer: &Peer) -> String {
    match peer.handshake {
        None => "no handshake has succeeded since the device was set up".to_owned(),
        Some(age) => format!(
            "the last handshake was {} ago",
            words::count(age.as_secs(), "second")
        ),
    }
}

fn opened(carrier: &Flow) -> String {
    let port = carrier
        .dport
        .map_or_else(String::new, |port| format!(" port {port}"));
    format!(
        "let through {} from {} to {}{port}",
        carrier.proto, carrier.src, carrier.dst
    )
}
