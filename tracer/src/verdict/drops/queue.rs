//! Queues that are full, or drop before they are, and memory that the kernel did not get.

use super::{Concern, Finding, function, place};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Confirmed, Fix, Point, Site, shell::Command},
    net::Limits,
    node::{facts::NodeFacts, tun::TunDevice},
    words,
};

pub(super) fn is_queue(facts: &DropFacts) -> Concern {
    Concern::surely(state(facts).is_some() || function(facts) == "tbf_enqueue")
}

/// What the reason says of the queue, behind where it is (include/net/dropreason-core.h).
fn state(facts: &DropFacts) -> Option<&'static str> {
    Some(match facts.reason.name() {
        "QDISC_CONGESTED" => "drops early: packets have waited in it for too long",
        "CAKE_FLOOD" => "takes this flow for a flood: it does not slow down when it is dropped",
        "DUALPI2_STEP_DROP" => "has exceeded its step threshold (DualPI2)",
        "FQ_FLOW_LIMIT" => "holds as many packets of this flow as fq allows (flow_limit)",
        "FQ_BAND_LIMIT" => "holds as many packets of this priority band as fq allows",
        "FQ_HORIZON_LIMIT" => {
            "refuses the packet's departure time: it lies behind the horizon of fq"
        }
        "CPU_BACKLOG" => {
            "of received packets is full (net.core.netdev_max_backlog, or its flow limit)"
        }
        "FULL_RING" => "is full",
        reason if reason.starts_with("QDISC_") => "is full",
        _ => return None,
    })
}

pub(super) fn queue(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    if facts.reason.is("FULL_RING")
        && let Some(tun) = &node.around.tun
    {
        return Some(full_tun(tun));
    }
    if let Some(finding) = lost_on_purpose(facts, node) {
        return Some(finding);
    }
    let state = state(facts).unwrap_or("is full");
    let why = match facts.reason.is("CPU_BACKLOG") {
        true => format!("the CPU's queue {state} ({})", facts.reason),
        false => format!("a queue{} {state} ({})", place(facts), facts.reason),
    };
    let mut finding =
        Finding::new(Point::Queue, Confirmed, why).about(&[&place(facts), &facts.reason]);
    let queues = node.around.qdiscs.iter().filter(|qdisc| qdisc.drops > 0);
    finding
        .evidence
        .extend(queues.map(|qdisc| format!("the queue: {qdisc}")));
    Some(finding)
}

/// netem, which loses packets by chance. It gives the same reason as a queue that is full.
fn lost_on_purpose(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let mut dropping = node.around.qdiscs.iter().filter(|qdisc| qdisc.drops > 0);
    let (Some(only), None) = (dropping.next(), dropping.next()) else {
        return None;
    };
    let Some(Limits::Netem { loss, limit }) = only.limits else {
        return None;
    };
    // Either is possible, unless it is far from full.
    let is_full = only.waiting >= limit / 2;
    (facts.reason.name().starts_with("QDISC_") && loss > 0 && !is_full).then_some(())?;
    let ifname = facts.ifname.as_deref().unwrap_or("the interface");
    let why = format!(
        "netem{} loses packets on purpose, as it was set up to",
        place(facts)
    );
    let mut finding = Finding::new(Point::Queue, Confirmed, why).about(&[&place(facts)]);
    finding.fact(format!("the queue: {only}"));
    if only.parent.is_none() {
        let command = Command::new("tc qdisc del dev").arg(ifname).words("root");
        let note = "a test of bad networks may have left it there";
        finding.fix.push(Fix::command(command).noting(note));
    }
    Some(finding)
}

/// The ring of a tun device, which a process of this node reads.
fn full_tun(tun: &TunDevice) -> Finding {
    let (name, reader) = (&tun.name, tun.reader());
    let why = format!("the ring of {name} is full: {reader} does not read it, or not fast enough");
    let mut finding = Finding::new(Point::Queue, Confirmed, why).about(&[name]);
    finding.fact(format!(
        "{} were read from {name} so far, and {} found the ring full",
        words::count(tun.read, "packet"),
        words::count(tun.dropped, "packet")
    ));
    finding
        .fix
        .push(Fix::advice(format!("look at {reader}: restart it if it hangs")).at(Site::Host));
    finding
}

pub(super) fn is_out_of_memory(facts: &DropFacts) -> Concern {
    Concern::surely(matches!(facts.reason.name(), "NOMEM" | "PFMEMALLOC"))
}

/// An allocation that failed, or a packet in memory of the reserve.
pub(super) fn out_of_memory(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let what = match facts.reason.name() {
        "PFMEMALLOC" => {
            "the packet took the last of the memory reserve, which only swapping over the network \
             may use"
        }
        _ => "the kernel got no memory for the packet",
    };
    let why = format!("{what}{} ({})", place(facts), facts.reason);
    let mut finding = Finding::new(Point::Queue, Confirmed, why).about(&[&what, &place(facts)]);
    finding
        .fix
        .push(Fix::advice("free memory on this node, or raise vm.min_free_kbytes").at(Site::Host));
    Some(finding)
}
