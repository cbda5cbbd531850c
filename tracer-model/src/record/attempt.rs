//! A connection attempt.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{flow::address, shaped, time::rfc3339};
use crate::{
    AttemptReport, Direction, Dns, Flow, Hop, Outcome, Outer, Pod, ReplyKind, SocketAddress,
    TlsStage, Verdict,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "AttemptReport")]
struct AttemptShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    flow: Flow,
    #[serde(with = "address", default)]
    original_dst: Option<SocketAddress>,
    translated: Option<Flow>,
    src_pod: Option<Pod>,
    dst_pod: Option<Pod>,
    src_owner: Option<String>,
    dst_owner: Option<String>,
    /// For reading only: `dst_owner` says it.
    #[serde(skip)]
    service: Option<String>,
    outcome: Outcome,
    corrects: Option<Outcome>,
    syns: u64,
    waited_ms: u64,
    isn: Option<u32>,
    dns: Option<Dns>,
    tls: Option<TlsStage>,
    by: Option<String>,
    process: Option<String>,
    hops: Vec<Hop>,
    #[serde(default)]
    reply: Option<ReplyKind>,
    reply_hops: Vec<Hop>,
    verdict: Option<Verdict>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Hop")]
struct HopShape {
    ifname: String,
    netns: u32,
    netns_name: Option<String>,
    /// For reading only: the namespace says it.
    #[serde(skip)]
    pod: Option<String>,
    dir: Direction,
    at_us: u64,
    times: u64,
    flow: Option<Flow>,
    outer: Option<Outer>,
    mtu: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Dns")]
struct DnsShape {
    #[serde(default)]
    id: Option<u16>,
    question: String,
    qtype: String,
    rcode: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Outcome", rename_all = "lowercase")]
enum OutcomeShape {
    Answered,
    Refused,
    Rejected,
    Unanswered,
    Stalled,
    Unsent,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ReplyKind", rename_all = "lowercase")]
enum ReplyKindShape {
    Answer,
    Reset,
    Error,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TlsStage", rename_all = "kebab-case")]
enum TlsStageShape {
    Sent,
    Acknowledged,
    Answered,
    Reset,
}

shaped!(
    AttemptReport as AttemptShape,
    Hop as HopShape,
    Dns as DnsShape,
    Outcome as OutcomeShape,
    ReplyKind as ReplyKindShape,
    TlsStage as TlsStageShape,
);
