//! Who was at the ends of a flow, and what the cluster's objects add to a verdict: on the laptop, since
//! the traces may not ask the API server.

use std::time::SystemTime;

use crate::{
    cluster::{
        live::Cluster,
        naming::{End, Name},
    },
    model::{AttemptReport, Direction, DropReport, Flow, Report, SocketAddress},
    verdict::cluster::{AttemptFlow, DropScene, DroppedPacket, Naming, refine},
};

/// Adds to a record of a node what the objects say. `at` is when it came here, by this machine's clock,
/// by which the objects' history is kept.
pub(super) fn complete(report: &mut Report, cluster: &Cluster, node: &str, at: SystemTime) {
    match report {
        Report::Attempt(attempt) => complete_attempt(attempt, cluster, node, at),
        Report::Drop(drop) => complete_drop(drop, cluster, node, at),
        _ => {}
    }
}

/// Looks names up among the cluster's objects alone, for a record of this node.
struct Names<'a>(&'a Cluster, &'a str);

impl<'a> Naming<'a> for Names<'a> {
    fn cluster(&self) -> &'a Cluster {
        self.0
    }

    fn own_node(&self) -> Option<String> {
        Some(self.1.to_owned())
    }

    fn of(&mut self, flow: &Flow, end: SocketAddress, is_server: bool, at: SystemTime) -> Name {
        self.0.name(&End::of(flow, end, is_server, at))
    }
}

fn complete_attempt(attempt: &mut AttemptReport, cluster: &Cluster, node: &str, at: SystemTime) {
    let last = attempt.hops.last();
    let flow = AttemptFlow {
        client: attempt.flow,
        last: attempt.translated.unwrap_or(attempt.flow).destination(),
        original_dst: attempt.original_dst,
        outer: last.and_then(|hop| hop.outer).map(|outer| outer.flow),
        at,
    };
    let mut names = Names(cluster, node);
    let ends = flow.ends(&mut names);
    attempt.src_pod = ends.client.pod();
    attempt.dst_pod = ends.server.pod();
    attempt.src_owner = ends.client.words();
    attempt.dst_owner = ends.requested.words().or_else(|| ends.server.words());
    attempt.service = ends.requested.service().map(ToString::to_string);
    let Some(verdict) = attempt.verdict.take() else {
        return;
    };
    let is_here = match &ends.server {
        Name::Pod(pod) => pod.node.as_deref() == Some(node),
        _ => false,
    };
    // At its own node, what went out of the node's namespace went to the pod.
    let arrived = is_here && last.is_some_and(|hop| hop.dir == Direction::Out);
    let scene = flow.scene(&ends, (attempt.outcome, arrived), &mut names);
    attempt.verdict = Some(refine(verdict, &scene));
}

fn complete_drop(drop: &mut DropReport, cluster: &Cluster, node: &str, at: SystemTime) {
    let packet = DroppedPacket {
        flow: drop.flow,
        tcp_flags: drop.packet.as_ref().and_then(|packet| packet.tcp_flags),
        original_dst: drop.original_dst,
        outer: drop.outer.map(|outer| outer.flow),
        at,
    };
    let context = DropScene::of(&packet, &mut Names(cluster, node));
    drop.verdict = refine(drop.verdict.clone(), &context.scene);
    let (src, dst) = context.into_ends();
    drop.src_pod = src.pod();
    drop.dst_pod = dst.pod();
    drop.src_owner = src.words();
    drop.dst_owner = dst.words();
}
