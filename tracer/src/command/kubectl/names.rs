//! Who was at the ends of a flow, and what the cluster's objects add to a verdict: on the laptop, since
//! the traces may not ask the API server.

use std::time::SystemTime;

use crate::{
    cluster::{
        live::Cluster,
        naming::{End, Name},
        policy::Protocol,
    },
    model::{AttemptReport, Direction, DropReport, Flow, Report, SocketAddress},
    verdict::cluster::{Scene, opened, refine},
};

/// Adds to a record of a node what the objects say. `at` is when it came here, by this machine's clock,
/// by which the objects' history is kept.
pub(super) fn complete(report: &mut Report, cluster: &Cluster, node: &str, at: SystemTime) {
    match report {
        Report::Attempt(attempt) => complete_attempt(attempt, cluster, node, at),
        Report::Drop(drop) => complete_drop(drop, cluster, at),
        _ => {}
    }
}

fn name(
    cluster: &Cluster,
    flow: &Flow,
    (ip, port): SocketAddress,
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

fn complete_attempt(attempt: &mut AttemptReport, cluster: &Cluster, node: &str, at: SystemTime) {
    let client = attempt.flow;
    let behind = attempt.translated.unwrap_or(client);
    let requested = name(cluster, &client, client.destination(), true, at);
    let server = match client.destination() == behind.destination() {
        true => requested.clone(),
        false => name(cluster, &behind, behind.destination(), true, at),
    };
    let own = name(cluster, &client, client.source(), false, at);
    let own = own.connecting_to(&server, behind.dport);
    attempt.src_pod = own.pod();
    attempt.dst_pod = server.pod();
    attempt.src_owner = own.words();
    attempt.dst_owner = requested.words().or_else(|| server.words());
    attempt.service = requested.service().map(ToString::to_string);
    let Some(verdict) = attempt.verdict.take() else {
        return;
    };
    let flow = Flow {
        dst: behind.dst,
        dport: behind.dport,
        ..client
    };
    let last = attempt.hops.last();
    let is_here = match &server {
        Name::Pod(pod) => pod.node.as_deref() == Some(node),
        _ => false,
    };
    let original = attempt.original_dst;
    let scene = Scene {
        cluster,
        flow,
        is_opening: true,
        outer: last.and_then(|hop| hop.outer),
        src: own,
        dst: server,
        asked_for: original.map(|socket| (name(cluster, &flow, socket, true, at), socket.1)),
        outcome: Some(attempt.outcome),
        // At its own node, what went out of the node's namespace went to the pod.
        arrived: is_here && last.is_some_and(|hop| hop.dir == Direction::Out),
        at,
        program_pod: None,
    };
    attempt.verdict = Some(refine(verdict, &scene));
}

fn complete_drop(drop: &mut DropReport, cluster: &Cluster, at: SystemTime) {
    let flags = drop.packet.as_ref().and_then(|packet| packet.tcp_flags);
    let (flow, is_opening) = opened(&drop.flow, flags);
    let is_reply = flow != drop.flow;
    let dst = name(cluster, &flow, flow.destination(), is_opening, at);
    let src = name(cluster, &flow, flow.source(), false, at);
    let (from, to) = match is_reply {
        true => (&dst, &src),
        false => (&src, &dst),
    };
    drop.src_pod = from.pod();
    drop.dst_pod = to.pod();
    drop.src_owner = from.words();
    drop.dst_owner = to.words();
    // Of a reply, it is the client's address before SNAT was undone.
    let original = drop.original_dst.filter(|_| !is_reply);
    let scene = Scene {
        cluster,
        flow,
        is_opening,
        outer: drop.outer,
        src: src.connecting_to(&dst, flow.dport),
        dst,
        asked_for: original.map(|socket| (name(cluster, &flow, socket, is_opening, at), socket.1)),
        outcome: None,
        arrived: false,
        at,
        program_pod: None,
    };
    drop.verdict = refine(drop.verdict.clone(), &scene);
}
