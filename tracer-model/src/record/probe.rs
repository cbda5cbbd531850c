//! What a probe sends, and what it found.

use std::{net::IpAddr, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{shaped, time::rfc3339};
use crate::{
    Layer, LayerReport, LayerResult, LayerTest, PlanReport, Protocol, Sending, Skip, Verdict,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "PlanReport")]
struct PlanReportShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    from: Option<String>,
    to: String,
    netns: String,
    sends: Vec<Sending>,
    skips: Vec<Skip>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Sending")]
struct SendingShape {
    layer: Layer,
    proto: Protocol,
    dst: Option<IpAddr>,
    #[serde(default)]
    addresses: Option<u32>,
    dport: Option<u16>,
    most: u32,
    #[serde(default)]
    segments: Option<u32>,
    test: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Skip")]
struct SkipShape {
    layer: Layer,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LayerReport")]
struct LayerReportShape {
    #[serde(with = "rfc3339")]
    ts: SystemTime,
    layer: Layer,
    test: String,
    result: LayerResult,
    evidence: Option<String>,
    verdict: Option<Verdict>,
    tests: Vec<LayerTest>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LayerTest")]
struct LayerTestShape {
    test: String,
    result: LayerResult,
    evidence: Option<String>,
    verdict: Option<Verdict>,
}

shaped!(
    PlanReport as PlanReportShape,
    Sending as SendingShape,
    Skip as SkipShape,
    LayerReport as LayerReportShape,
    LayerTest as LayerTestShape,
);
