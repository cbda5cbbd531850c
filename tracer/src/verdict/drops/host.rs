//! Queues and sockets of this host, and packets that are corrupt.

use super::{Concern, Finding, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Confirmed, Point},
    node::facts::NodeFacts,
};

pub(super) fn is_corrupt(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.name().ends_with("_CSUM"))
}

pub(super) fn checksum(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = format!("the checksum is wrong ({})", facts.reason);
    Some(Finding::new(Point::Checksum, Confirmed, why).about(&[&facts.reason]))
}

pub(super) fn is_queue(facts: &DropFacts) -> Concern {
    let reason = facts.reason.name();
    let full = reason.starts_with("QDISC_")
        || matches!(reason, "CPU_BACKLOG" | "FULL_RING" | "DEV_READY")
        || function(facts) == "tbf_enqueue";
    Concern::surely(full)
}

pub(super) fn queue(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let why = format!("a queue{} is full ({})", place(facts), facts.reason);
    let mut finding =
        Finding::new(Point::Queue, Confirmed, why).about(&[&place(facts), &facts.reason]);
    let queues = node.around.qdiscs.iter().filter(|qdisc| qdisc.drops > 0);
    finding
        .evidence
        .extend(queues.map(|qdisc| format!("the queue: {qdisc}")));
    Some(finding)
}

/// Reasons for a socket whose buffer is full.
const FULL_BUFFERS: [&str; 3] = ["SOCKET_RCVBUFF", "SOCKET_BACKLOG", "PROTO_MEM"];

pub(super) fn is_socket(facts: &DropFacts) -> Concern {
    let reason = facts.reason.name();
    Concern::surely(reason == "NO_SOCKET" || FULL_BUFFERS.contains(&reason))
}

pub(super) fn socket(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let flow = &facts.flow;
    if !facts.reason.is("NO_SOCKET") {
        let why = format!("the receiving socket's buffer is full ({})", facts.reason);
        return Some(Finding::new(Point::Socket, Confirmed, why).about(&[&facts.reason]));
    }
    let why = match flow.dport {
        Some(port) => format!(
            "nobody listens on {} port {port} of {}",
            flow.proto, flow.dst
        ),
        None => format!("no socket takes {} at {}", flow.proto, flow.dst),
    };
    let port = flow.dport.unwrap_or_default();
    Some(Finding::new(Point::Socket, Confirmed, why).about(&[&flow.proto, &flow.dst, &port]))
}
