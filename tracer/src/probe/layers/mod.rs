//! From what was sent, answered and seen to the result of each layer: plain code.

pub(crate) mod dns;
pub(crate) mod http;
pub(crate) mod mtu;
pub(crate) mod placement;
pub(crate) mod policy;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod traced;

use std::time::{Duration, SystemTime};

use crate::model::{
    Confidence, Layer, LayerReport, LayerResult, LayerTest, Point, RuleName, Verdict,
};

/// A layer with one test for each of these.
pub(crate) fn report(layer: Layer, tests: Vec<LayerTest>, evidence: Option<String>) -> LayerReport {
    let decides = tests
        .iter()
        .filter(|test| test.result == LayerResult::Failed)
        .max_by_key(|test| sureness(test.verdict.as_ref()))
        .or_else(|| tests.first());
    LayerReport {
        ts: SystemTime::now(),
        layer,
        test: decides.map(|test| test.test.clone()).unwrap_or_default(),
        result: together(&tests),
        evidence: evidence.or_else(|| decides.and_then(|test| test.evidence.clone())),
        verdict: decides.and_then(|test| test.verdict.clone()),
        tests: if tests.len() > 1 { tests } else { Vec::new() },
    }
}

/// The result of several tests: one that fails decides.
fn together(tests: &[LayerTest]) -> LayerResult {
    let has = |result| tests.iter().any(|test| test.result == result);
    let order = [LayerResult::Failed, LayerResult::Ok, LayerResult::Blocked];
    let found = order.into_iter().find(|result| has(*result));
    found.unwrap_or(LayerResult::Skipped)
}

/// The first of the surest verdicts is the one to show.
pub(crate) fn sureness(verdict: Option<&Verdict>) -> u8 {
    match verdict {
        None => 0,
        Some(verdict) if verdict.point == Point::Unknown => 1,
        Some(verdict) => match verdict.confidence {
            Confidence::Possible => 2,
            Confidence::Likely => 3,
            Confidence::Confirmed => 4,
        },
    }
}

/// A layer that is not tested, or cannot be.
pub(crate) fn without(
    layer: Layer,
    result: LayerResult,
    test: impl Into<String>,
    reason: impl Into<String>,
) -> LayerReport {
    LayerReport {
        ts: SystemTime::now(),
        layer,
        test: test.into(),
        result,
        evidence: Some(reason.into()),
        verdict: None,
        tests: Vec::new(),
    }
}

/// A verdict of the probe itself, by one of the rules in `docs/probe.md`.
fn verdict(
    rule: &'static str,
    point: Point,
    confidence: Confidence,
    why: impl Into<String>,
    subject: impl Into<String>,
) -> Verdict {
    Verdict {
        rule: Some(RuleName::from(rule)),
        subject: subject.into(),
        ..Verdict::new(point, confidence, why)
    }
}

/// A time, as a person would say it.
pub(crate) fn took(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        _ => format!("{} ms", micros / 1000),
    }
}
