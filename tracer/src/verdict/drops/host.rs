//! Queues and sockets of this host, and packets that are corrupt.

use super::{Finding, found, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Confirmed, Point},
    node::facts::NodeFacts,
};

pub(super) fn checksum(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let bad = facts.reason.name().ends_with("_CSUM") || facts.reason.is("SKB_CSUM");
    bad.then(|| {
        found(
            Point::Checksum,
            Confirmed,
            format!("the checksum is wrong ({})", facts.reason),
        )
    })?
}

pub(super) fn queue(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let reason = facts.reason.name();
    let full = reason.starts_with("QDISC_")
        || matches!(reason, "CPU_BACKLOG" | "FULL_RING" | "DEV_READY")
        || function(facts) == "tbf_enqueue";
    if !full {
        return None;
    }
    let mut finding = found(
        Point::Queue,
        Confirmed,
        format!("a queue{} is full ({reason})", place(facts)),
    )?;
    let queues = node.around.qdiscs.iter().filter(|qdisc| qdisc.drops > 0);
    finding
        .evidence
        .extend(queues.map(|qdisc| format!("the queue: {qdisc}")));
    Some(finding)
}

pub(super) fn socket(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = match facts.reason.name() {
        "NO_SOCKET" => match facts.flow.dport {
            Some(port) => format!(
                "nobody listens on {} port {port} of {}",
                facts.flow.proto, facts.flow.dst
            ),
            None => format!("no socket takes {} at {}", facts.flow.proto, facts.flow.dst),
        },
        "SOCKET_RCVBUFF" | "SOCKET_BACKLOG" | "PROTO_MEM" => {
            format!("the receiving socket's buffer is full ({})", facts.reason)
        }
        _ => return None,
    };
    found(Point::Socket, Confirmed, why)
}
