//! What a trace begins with, loses, and consists of.

use std::{net::IpAddr, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{shaped, time::rfc3339};
use crate::{
    AttemptReport, DropReport, LayerReport, Lost, More, Outcome, PathReport, PlanReport, Point,
    Report, RuleName, Scope, Started, Summary, Tick,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Report", tag = "kind", rename_all = "lowercase")]
enum ReportShape {
    Started(Box<Started>),
    Drop(Box<DropReport>),
    Attempt(Box<AttemptReport>),
    More(More),
    Lost(Lost),
    Tick(Tick),
    Path(Box<PathReport>),
    Plan(Box<PlanReport>),
    Layer(Box<LayerReport>),
    Summary(Box<Summary>),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Started")]
struct StartedShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    kernel: String,
    interfaces: usize,
    hooks: Vec<String>,
    degraded: Vec<String>,
    filter: String,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default)]
    complete: bool,
    scope: Option<Scope>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Scope")]
struct ScopeShape {
    proto: String,
    to: Option<String>,
    from: Option<String>,
    #[serde(default)]
    netns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    to_is: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    from_is: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "More")]
struct MoreShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    outcome: Option<Outcome>,
    records: u64,
    count: u64,
    sources: u64,
    point: Option<Point>,
    rule: Option<RuleName>,
    why: Option<String>,
    #[serde(default)]
    isns: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Lost")]
struct LostShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    events: u64,
    #[serde(rename = "where")]
    place: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Tick")]
struct TickShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    lost: u64,
}

shaped!(
    Report as ReportShape,
    Started as StartedShape,
    Scope as ScopeShape,
    More as MoreShape,
    Lost as LostShape,
    Tick as TickShape
);
