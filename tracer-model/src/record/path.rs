//! An attempt's path through several nodes.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{flow::address, shaped, time::rfc3339};
use crate::{
    Between, Dns, Flow, Hop, NodeClock, Outcome, PathHop, PathReport, Pod, SocketAddress, Verdict,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "PathReport")]
struct PathShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    flow: Flow,
    #[serde(with = "address", default)]
    original_dst: Option<SocketAddress>,
    isn: Option<u32>,
    dns: Option<Dns>,
    src_pod: Option<Pod>,
    dst_pod: Option<Pod>,
    outcome: Outcome,
    syns: u64,
    waited_ms: u64,
    hops: Vec<PathHop>,
    reply_hops: Vec<PathHop>,
    between: Option<Between>,
    clock: Vec<NodeClock>,
    verdict: Option<Verdict>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PathHop")]
struct PathHopShape {
    node: String,
    #[serde(flatten)]
    hop: Hop,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Between")]
struct BetweenShape {
    from: String,
    to: String,
    outer: Option<Flow>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NodeClock")]
struct NodeClockShape {
    node: String,
    offset_us: Option<i64>,
    uncertainty_us: Option<u64>,
}

shaped!(
    PathReport as PathShape,
    PathHop as PathHopShape,
    Between as BetweenShape,
    NodeClock as NodeClockShape,
);
