//! A translation that a connection began with and lacks now, in a sentence.

use super::rule::Finding;
use crate::{
    model::{Confidence, Fix, Flow, Netns, Point, Site, address},
    node::{change, translation::LostTranslation},
};

/// What kube-proxy sets by default (`conntrack.tcpEstablishedTimeout`), in seconds.
const KUBE_PROXYS: u64 = 86_400;

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
    let why = format!(
        "the conntrack entry that translated {client} to {} {became} while the connection is open: \
         {effect}",
        translated(&of.before, &of.behind)
    );
    let mut finding = Finding::new(Point::Conntrack, confidence, why).about(&[
        &of.before.src,
        &of.before.dst,
        &of.behind.dst,
    ]);
    let there = Site::Namespace(Netns::Nameless(of.netns));
    finding.fact(format!(
        "the SYN from {client} to {} was translated: it became one from {} to {}",
        to(&of.before),
        address(of.behind.source()),
        to(&of.behind)
    ));
    if let Some(seconds) = idle_limit {
        finding.fact(format!(
            "an entry expires after {seconds} s without a packet \
             (nf_conntrack_tcp_timeout_established); `conntrack -F` and `-D` remove it at once"
        ));
    }
    if let Some(seconds) = idle_limit.filter(|seconds| *seconds < KUBE_PROXYS) {
        let path = "net/netfilter/nf_conntrack_tcp_timeout_established";
        finding.fix.push(
            change::sysctl(path, seconds, KUBE_PROXYS)
                .noting("or let the application send TCP keepalives more often than that")
                .at(there),
        );
    } else {
        finding.fix.push(Fix::advice(
            "reconnect the client; remove only the entries of endpoints that are gone (`conntrack -D \
             --orig-dst`, never `conntrack -F`)",
        ));
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
