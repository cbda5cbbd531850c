//! A dropped packet.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{flow::address, shaped, time::rfc3339};
use crate::{DropReport, Flow, Hook, Outer, Packet, Pod, Point, Reason, SocketAddress, Verdict};

#[derive(Serialize, Deserialize)]
#[serde(remote = "DropReport")]
struct DropShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    flow: Flow,
    #[serde(with = "address", default)]
    original_dst: Option<SocketAddress>,
    outer: Option<Outer>,
    quoted: Option<Flow>,
    packet: Option<Packet>,
    reason: Reason,
    function: Option<String>,
    hook: Option<Hook>,
    ifname: Option<String>,
    netns: Option<u32>,
    netns_name: Option<String>,
    count: u64,
    #[serde(default)]
    noise: bool,
    corrects: Option<Point>,
    src_pod: Option<Pod>,
    dst_pod: Option<Pod>,
    src_owner: Option<String>,
    dst_owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<Vec<String>>,
    verdict: Verdict,
}

shaped!(DropReport as DropShape);
