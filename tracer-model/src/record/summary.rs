//! The end of a trace.

use std::{borrow::Cow, collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    shaped,
    time::{rfc3339, rfc3339_or_null},
};
use crate::{
    Cause, Layer, LayerResult, LayerRow, OtherVerdict, Outcome, Point, Span, Summary, Verdict,
    VerdictCount,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Summary")]
struct SummaryShape {
    #[serde(with = "rfc3339_or_null", default)]
    ts: Option<SystemTime>,
    #[serde(default)]
    node: Option<String>,
    #[serde(default)]
    unwatched: Vec<Span>,
    drops: u64,
    shown: u64,
    #[serde(default)]
    folded: u64,
    #[serde(default)]
    counted: u64,
    lost: u64,
    noise: u64,
    #[serde(default)]
    noise_shown: u64,
    malformed: u64,
    attempts: BTreeMap<Outcome, u64>,
    untracked: u64,
    verdicts: Vec<VerdictCount>,
    layers: Vec<LayerRow>,
    verdict: Option<Verdict>,
    #[serde(default)]
    verdict_count: u64,
    #[serde(default)]
    also: Vec<OtherVerdict>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "OtherVerdict")]
struct OtherVerdictShape {
    verdict: Verdict,
    attempts: u64,
    drops: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Span")]
struct SpanShape {
    #[serde(with = "rfc3339")]
    from: SystemTime,
    #[serde(with = "rfc3339")]
    to: SystemTime,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "VerdictCount")]
struct VerdictCountShape {
    point: Point,
    count: u64,
    why: String,
    #[serde(skip)]
    cause: Option<Cause>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LayerRow")]
struct LayerRowShape {
    layer: Layer,
    test: Cow<'static, str>,
    result: LayerResult,
    evidence: Option<String>,
    verdict: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Layer", rename_all = "lowercase")]
enum LayerShape {
    #[serde(rename = "DNS")]
    Dns,
    #[serde(rename = "TCP")]
    Tcp,
    Policy,
    Firewall,
    Overlay,
    #[serde(rename = "MTU")]
    Mtu,
    Listener,
    #[serde(rename = "TLS")]
    Tls,
    Application,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LayerResult", rename_all = "lowercase")]
enum LayerResultShape {
    Ok,
    Failed,
    Blocked,
    #[serde(rename = "not observed")]
    NotObserved,
    Skipped,
}

shaped!(
    Summary as SummaryShape,
    Span as SpanShape,
    VerdictCount as VerdictCountShape,
    OtherVerdict as OtherVerdictShape,
    LayerRow as LayerRowShape,
    Layer as LayerShape,
    LayerResult as LayerResultShape,
);
