//! What the rows rest on, in words: counts, and an example.

use std::net::IpAddr;

use super::Tally;
use crate::{
    model::{AttemptReport, DropReport, Outcome, Pod, address},
    words,
};

/// How many came to what, and the best example: a failure where there is one.
pub(super) fn summed_up(tally: &Tally) -> String {
    let counts: Vec<_> = tally
        .outcomes
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(outcome, count)| format!("{count} {}", outcome.name()))
        .collect();
    let codes = tally
        .codes
        .iter()
        .filter(|(code, count)| **count > 0 && *code != "NOERROR")
        .map(|(code, count)| format!("{count} {code}"));
    let codes: Vec<_> = codes.collect();
    let mut counts = counts.join(", ");
    if !codes.is_empty() {
        counts += &format!(" ({})", codes.join(", "));
    }
    let example = match tally.failures() {
        0 => &tally.answered,
        _ => &tally.failed,
    };
    match example {
        Some((_, example)) => format!("{counts}: {example}"),
        None => counts,
    }
}

/// An attempt in a few words.
pub(super) fn example(attempt: &AttemptReport) -> String {
    let AttemptReport {
        flow,
        outcome,
        waited_ms,
        ..
    } = attempt;
    let what = match &attempt.dns {
        Some(dns) => format!("{} {}", dns.qtype, dns.question),
        None => format!(
            "{} → {}",
            match &attempt.process {
                Some(process) if attempt.src_pod.is_none() => process.clone(),
                _ => end(attempt.src_pod.as_ref(), flow.src, None),
            },
            match (&attempt.service, flow.dport) {
                (Some(service), Some(port)) => format!("svc/{service}:{port}"),
                _ => end(attempt.dst_pod.as_ref(), flow.dst, flow.dport),
            }
        ),
    };
    let tries = match attempt.dns {
        Some(_) if attempt.syns == 1 => "1 query".to_owned(),
        Some(_) => format!("{} queries", attempt.syns),
        None => words::count(attempt.syns, "SYN"),
    };
    match outcome {
        Outcome::Unanswered => format!("{what}, {tries} in {waited_ms} ms"),
        Outcome::Stalled => format!("{what}, handshake done, data does not get through"),
        Outcome::Unsent => format!("{what}, no SYN was sent"),
        _ => format!("{what} {}", words::after_ms(*waited_ms)),
    }
}

/// The ends of a dropped packet.
pub(super) fn ends(drop: &DropReport) -> String {
    let DropReport { flow, .. } = drop;
    let src = end(drop.src_pod.as_ref(), flow.src, None);
    let dst = end(drop.dst_pod.as_ref(), flow.dst, flow.dport);
    format!("{src} → {dst}")
}

fn end(pod: Option<&Pod>, ip: IpAddr, port: Option<u16>) -> String {
    let port = port.filter(|port| *port > 0);
    match (pod, port) {
        (Some(pod), Some(port)) => format!("{}/{}:{port}", pod.namespace, pod.name),
        (Some(pod), None) => format!("{}/{}", pod.namespace, pod.name),
        (None, port) => address((ip, port)),
    }
}
