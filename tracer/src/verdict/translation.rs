//! A translation that a connection began with and lacks now, in a sentence.

use super::rule::Finding;
use crate::{
    model::{Confidence, Fix, Flow, Netns, Point, Protocol, Site, address},
    node::{
        change,
        translation::{LostTranslation, idle_setting},
    },
};

/// What kube-proxy sets by default (`conntrack.tcpEstablishedTimeout`), in seconds.
const KUBE_PROXYS: u64 = 86_400;
/// The kernel's default for a datagram without an answer, in seconds.
const OF_DATAGRAMS: u64 = 30;

/// The finding, whatever showed the loss.
pub(super) fn finding(lost: &LostTranslation, confidence: Confidence) -> Finding {
    let LostTranslation {
        of,
        now,
        idle_limit,
    } = lost;
    let client = address(of.before.source());
    let became = match now {
        None => "is gone".to_owned(),
        Some(_) => "was replaced".to_owned(),
    };
    let goes_to = of.seen.or(*now).map(|flow| to(&flow));
    let effect = match goes_to.filter(|_| of.by_client) {
        Some(there) if there != to(&of.before) => {
            format!("what the client sends goes to {there}, which has no such connection")
        }
        _ if of.by_client => format!("what the client sends still goes to {}", to(&of.before)),
        _ => "what the server sends is not translated back".to_owned(),
    };
    let is_udp = of.before.proto == Protocol::Udp;
    let meanwhile = match is_udp {
        true => "while the client waits for its answer",
        false => "while the connection is open",
    };
    let why = format!(
        "the conntrack entry that translated {client} to {} {became} {meanwhile}: {effect}",
        translated(&of.before, &of.behind)
    );
    let mut finding = Finding::new(Point::Conntrack, confidence, why).about(&[
        &of.before.src,
        &of.before.dst,
        &of.behind.dst,
    ]);
    let there = Site::Namespace(Netns::Nameless(of.netns));
    let opening = if is_udp { "query" } else { "SYN" };
    finding.fact(format!(
        "the {opening} from {client} to {} was translated: it became one from {} to {}",
        to(&of.before),
        address(of.behind.source()),
        to(&of.behind)
    ));
    let path = idle_setting(of.before.proto);
    let setting = path.rsplit('/').next().unwrap_or(path);
    let usual = if is_udp { OF_DATAGRAMS } else { KUBE_PROXYS };
    if let Some(seconds) = idle_limit {
        finding.fact(format!(
            "an entry expires after {seconds} s without a packet ({setting}); `conntrack -F` and `-D` \
             remove it at once"
        ));
    }
    if let Some(seconds) = idle_limit.filter(|seconds| *seconds < usual) {
        let note = match is_udp {
            true => "it has to be longer than the server takes to answer",
            false => "or let the application send TCP keepalives more often than that",
        };
        finding
            .fix
            .push(change::sysctl(path, seconds, usual).noting(note).at(there));
    } else {
        let again = if is_udp {
            "send the query again"
        } else {
            "reconnect the client"
        };
        finding.fix.push(Fix::advice(format!(
            "{again}; remove only the entries of endpoints that are gone (`conntrack -D --orig-dst`, never \
             `conntrack -F`)"
        )));
    }
    finding
}

fn to(flow: &Flow) -> String {
    address(flow.destination())
}

/// The part of a translation that matters: the destination, or else the source.
fn translated(before: &Flow, behind: &Flow) -> String {
    match before.destination() == behind.destination() {
        true => address(behind.source()),
        false => to(behind),
    }
}
