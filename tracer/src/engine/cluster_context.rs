//! What a drop or an attempt looks like among the cluster's objects.

use std::{net::IpAddr, time::SystemTime};

use crate::{
    cluster::{
        live::Cluster,
        naming::{End, Name},
        policy::Protocol,
    },
    decode::drop::DropFacts,
    model::{AttemptReport, Flow, Outcome, TcpFlags},
    verdict::cluster::Scene,
};

/// Where Linux takes the ports of clients from, by default (`ip_local_port_range`).
const FIRST_CLIENT_PORT: u16 = 32768;

/// Which end of a flow was asked for by the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Its source: these are replies.
    Source,
    /// Its destination.
    Destination,
    /// It could be either.
    Unknown,
}

impl Asked {
    /// Of a dropped packet.
    pub(crate) fn of_drop(facts: &DropFacts) -> Self {
        match opened(&facts.flow, facts.tcp_flags()) {
            (_, false) => Self::Unknown,
            (flow, true) if flow == facts.flow => Self::Destination,
            (_, true) => Self::Source,
        }
    }
}

/// Who was at an end of a flow; `asked` where it is certain that the other end opened it.
pub(crate) fn name(
    cluster: &Cluster,
    flow: &Flow,
    (ip, port): (IpAddr, Option<u16>),
    asked: bool,
    at: SystemTime,
) -> Name {
    cluster.name(&End {
        ip,
        port,
        protocol: Protocol::of_flow(flow.proto),
        at,
        asked,
    })
}

/// The scene of a dropped packet.
pub(crate) fn of_drop<'a>(cluster: &'a Cluster, facts: &DropFacts) -> Scene<'a> {
    let (flow, is_opening) = opened(&facts.flow, facts.tcp_flags());
    let at = facts.at;
    Scene {
        cluster,
        is_opening,
        outer: facts.outer,
        src: name(cluster, &flow, (flow.src, flow.sport), false, at),
        dst: name(cluster, &flow, (flow.dst, flow.dport), is_opening, at),
        // Of a reply, it is the client's address before SNAT was undone.
        asked_for: facts
            .original_dst
            .filter(|_| flow.dst == facts.flow.dst)
            .map(|(ip, port)| (name(cluster, &flow, (ip, port), is_opening, at), port)),
        outcome: None,
        arrived: false,
        flow,
    }
}

/// The scene of an attempt. `arrived` says whether it was seen at its destination's door.
pub(crate) fn of_attempt<'a>(
    cluster: &'a Cluster,
    attempt: &AttemptReport,
    outcome: Outcome,
    arrived: bool,
) -> Scene<'a> {
    let at = attempt.ts;
    let behind = attempt.translated.as_ref().unwrap_or(&attempt.flow);
    let flow = Flow {
        dst: behind.dst,
        dport: behind.dport,
        ..attempt.flow
    };
    let last = attempt.hops.last();
    Scene {
        cluster,
        is_opening: true,
        outer: last.and_then(|hop| hop.outer),
        src: name(cluster, &flow, (flow.src, flow.sport), false, at),
        dst: name(cluster, &flow, (flow.dst, flow.dport), true, at),
        asked_for: attempt
            .original_dst
            .map(|(ip, port)| (name(cluster, &flow, (ip, port), true, at), port)),
        outcome: Some(outcome),
        arrived,
        flow,
    }
}

/// The flow in the direction in which it was opened, and whether that is certain enough to ask
/// policies about it: replies need no rule.
fn opened(flow: &Flow, tcp_flags: Option<TcpFlags>) -> (Flow, bool) {
    match tcp_flags {
        Some(flags) if flags.is_syn_ack() => return (flow.reversed(), true),
        Some(flags) if flags.syn() => return (*flow, true),
        _ => {}
    }
    let is_client = |port: Option<u16>| port.is_some_and(|port| port >= FIRST_CLIENT_PORT);
    match (is_client(flow.sport), is_client(flow.dport)) {
        (true, false) => (*flow, flow.dport.is_some()),
        (false, true) => (flow.reversed(), flow.sport.is_some()),
        _ => (*flow, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(sport: u16, dport: u16) -> Flow {
        Flow {
            proto: crate::model::Protocol::Tcp,
            src: IpAddr::from([10, 0, 0, 1]),
            sport: Some(sport),
            dst: IpAddr::from([10, 0, 0, 2]),
            dport: Some(dport),
        }
    }

    fn flags(text: &str) -> Option<TcpFlags> {
        text.parse().ok()
    }

    #[test]
    fn a_reply_is_turned_round_and_what_could_be_either_is_not_judged() {
        let ends = |(flow, certain): (Flow, bool)| (flow.sport, flow.dport, certain);
        let syn = ends(opened(&flow(1000, 2000), flags("S")));
        assert_eq!(syn, (Some(1000), Some(2000), true));
        let syn_ack = ends(opened(&flow(443, 40000), flags("SA")));
        assert_eq!(syn_ack, (Some(40000), Some(443), true));
        let data = ends(opened(&flow(443, 40000), flags("PA")));
        assert_eq!(data, (Some(40000), Some(443), true));
        assert!(!opened(&flow(40000, 50000), flags("A")).1);
        assert!(!opened(&flow(1000, 2000), None).1);
    }
}
