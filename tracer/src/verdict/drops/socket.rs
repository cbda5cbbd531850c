//! What a socket refuses: full buffers, and checks of TCP options.

use super::{Concern, Finding, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Confirmed, Fix, Netns, Point, Protocol, Site},
    node::facts::NodeFacts,
};

pub(super) fn has_full_buffer(facts: &DropFacts) -> Concern {
    let reason = facts.reason.name();
    let full = [
        "SOCKET_RCVBUFF",
        "SOCKET_BACKLOG",
        "PROTO_MEM",
        "TCP_OFO_QUEUE_PRUNE",
    ];
    Concern::surely(full.contains(&reason))
}

/// Buffers that are full.
pub(super) fn buffer(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let reason = facts.reason.name();
    let why = format!("the receiving socket's buffer is full ({reason})");
    Some(Finding::new(Point::Socket, Confirmed, why).about(&[&facts.flow.dst, &reason]))
}

pub(super) fn is_signature(facts: &DropFacts) -> Concern {
    let reason = facts.reason.name();
    let prefixes = ["TCP_MD5", "TCP_AO", "TCP_AUTH_HDR"];
    Concern::maybe(prefixes.iter().any(|prefix| reason.starts_with(prefix)))
}

/// A TCP signature (MD5, RFC 2385; AO, RFC 5925) that is missing, wrong or unexpected.
pub(super) fn signature(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let here = || Site::Namespace(Netns::Unresolved);
    let (what, way_out, site) = match facts.reason.name() {
        "TCP_MD5NOTFOUND" => (
            "the segment has no TCP MD5 signature, and the socket wants one",
            "set the same password at the peer",
            Site::Sender,
        ),
        "TCP_MD5UNEXPECTED" => (
            "the segment has a TCP MD5 signature, and the socket has no key for this peer",
            "set the same password on this side, or none at the peer",
            here(),
        ),
        "TCP_MD5FAILURE" => (
            "the TCP MD5 signature is wrong: the keys differ",
            "set the same password on both sides",
            here(),
        ),
        "TCP_AONOTFOUND" => (
            "the segment has no TCP authentication option, and the socket wants one",
            "configure TCP-AO at the peer",
            Site::Sender,
        ),
        "TCP_AOUNEXPECTED" => (
            "the segment has a TCP authentication option, and the socket has no key for this peer",
            "configure TCP-AO on this side",
            here(),
        ),
        "TCP_AOKEYNOTFOUND" => (
            "the socket has no TCP-AO key with the segment's key id",
            "give both sides the same key ids",
            here(),
        ),
        "TCP_AOFAILURE" => (
            "the TCP authentication option is wrong: the keys differ",
            "set the same key on both sides",
            here(),
        ),
        "TCP_AUTH_HDR" => (
            "the segment's TCP authentication options are malformed",
            "look at what changes TCP options on the path",
            Site::Beyond,
        ),
        _ => return None,
    };
    let (src, dst) = (facts.flow.src, facts.flow.dst);
    Some(Finding {
        fix: vec![Fix::advice(way_out).at(site)],
        ..Finding::new(Point::Socket, Confirmed, format!("{what} ({src} to {dst})"))
            .about(&[&what, &src, &dst])
    })
}

pub(super) fn is_old_timestamp(facts: &DropFacts) -> Concern {
    let reason = facts.reason.name();
    let stale = ["TCP_RFC7323_TW_PAWS", "TCP_RFC7323_PAWS"];
    Concern::surely(stale.contains(&reason))
}

/// A TCP timestamp that is older than the last one (PAWS, RFC 7323).
pub(super) fn old_timestamp(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = match facts.reason.name() {
        "TCP_RFC7323_TW_PAWS" => format!(
            "a TIME_WAIT socket of this very tuple remembers a later TCP timestamp than that of {} \
             (PAWS)",
            facts.flow.src
        ),
        "TCP_RFC7323_PAWS" => format!(
            "the TCP timestamp of {} is older than the last one on this connection (PAWS)",
            facts.flow.src
        ),
        _ => return None,
    };
    let advice = "several hosts behind one NAT address share its ports: use more source addresses \
                  or ports there, or reuse connections";
    Some(Finding {
        fix: vec![Fix::advice(advice).at(Site::Sender)],
        ..Finding::new(Point::Socket, Confirmed, why).about(&[&facts.flow.src, &facts.flow.dst])
    })
}

pub(super) fn is_low_ttl(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("TCP_MINTTL"))
}

/// TTL security (GTSM, RFC 5082).
pub(super) fn low_ttl(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let limit = match facts.flow.dst.is_ipv4() {
        true => "IP_MINTTL",
        false => "IPV6_MINHOPCOUNT",
    };
    let why = format!(
        "the TTL of a segment from {} is below the minimum that the socket of port {} asks for \
         ({limit})",
        facts.flow.src,
        facts.flow.dport.unwrap_or_default()
    );
    let advice = "enable TTL security at the peer too, or allow for the hops in between";
    Some(Finding {
        fix: vec![Fix::advice(advice).at(Site::Sender)],
        ..Finding::new(Point::Socket, Confirmed, why).about(&[&facts.flow.src, &facts.flow.dst])
    })
}

pub(super) fn lacks_protocol(facts: &DropFacts) -> Concern {
    let reason = facts.reason.name();
    Concern::surely(matches!(reason, "IP_NOPROTO" | "UNHANDLED_PROTO"))
}

/// A protocol that this host does not speak.
pub(super) fn no_protocol(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let proto = match facts.flow.proto {
        Protocol::Other(number) => format!("IP protocol {number}"),
        named => named.to_string(),
    };
    let why = format!(
        "this host has no handler for {proto}{} ({})",
        place(facts),
        function(facts)
    );
    Some(Finding::new(Point::Socket, Confirmed, why).about(&[&proto]))
}

pub(super) fn is_beyond_window(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.is("TCP_ZEROWINDOW"))
}

/// Data that came although the receiver had closed its window (RFC 9293, 3.8.6.1).
pub(super) fn closed_window(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let (src, dst) = (facts.flow.src, facts.flow.dst);
    let why = format!(
        "the receive window of the connection at {dst} is zero: the process there does not read \
         what has arrived, or not fast enough"
    );
    let mut finding = Finding::new(Point::Socket, Confirmed, why).about(&[&src, &dst]);
    finding.fact("nothing is lost by it: the sender keeps the data, and sends it again");
    Some(finding)
}
