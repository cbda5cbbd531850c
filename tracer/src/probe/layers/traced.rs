//! Firewall, overlay and listener: what the trace has seen of the probe's own packets, in the rows of
//! a trace.

use super::{placement::Placement, sureness, without};
use crate::{
    model::{AttemptReport, DropReport, Layer, LayerReport, LayerResult, LayerRow, Point, Verdict},
    report::layers::Layers,
};

/// The rows of a trace over these packets alone.
pub(crate) fn rows(attempts: &[AttemptReport], drops: &[DropReport]) -> Vec<LayerRow> {
    let mut layers = Layers::default();
    for drop in drops {
        layers.dropped(drop);
    }
    for attempt in attempts {
        layers.attempted(attempt);
    }
    // Where no packet of the probe was in a tunnel, there may be none.
    layers.rows(true, false)
}

/// One of the layers, as the trace has it.
pub(crate) fn layer(
    layer: Layer,
    rows: &[LayerRow],
    attempts: &[AttemptReport],
    test: String,
) -> LayerReport {
    let row = rows.iter().find(|row| row.layer == layer);
    let (result, evidence) = match row {
        Some(row) => (
            row.result,
            row.evidence.clone().or_else(|| row.verdict.clone()),
        ),
        None => (LayerResult::Skipped, None),
    };
    let (result, reason) = match result {
        LayerResult::NotObserved => (LayerResult::Skipped, Some(unseen(layer).to_owned())),
        other => (other, None),
    };
    let test = match result {
        LayerResult::Ok | LayerResult::Failed => test,
        // Nothing was seen that it would show.
        _ => String::new(),
    };
    let evidence = match (evidence, reason) {
        (Some(evidence), _) => evidence,
        (None, Some(reason)) => reason,
        (None, None) => String::new(),
    };
    LayerReport {
        verdict: match result {
            LayerResult::Failed => of_point(layer, attempts),
            _ => None,
        },
        ..without(layer, result, test, evidence)
    }
}

fn unseen(layer: Layer) -> &'static str {
    match layer {
        Layer::Overlay => "no packet of the probe was seen in a tunnel on this node",
        Layer::Listener => "no handshake came as far as a listener",
        _ => "nothing that was seen shows that every packet got through",
    }
}

/// The surest verdict of that layer.
fn of_point(layer: Layer, attempts: &[AttemptReport]) -> Option<Verdict> {
    let fits = |point: Point| match layer {
        Layer::Firewall => point == Point::Firewall,
        Layer::Overlay => point == Point::Overlay,
        Layer::Listener => matches!(point, Point::Listener | Point::Socket),
        _ => false,
    };
    let verdicts = attempts.iter().filter_map(|one| one.verdict.as_ref());
    let verdicts = verdicts.filter(|verdict| fits(verdict.point));
    verdicts
        .max_by_key(|verdict| sureness(Some(verdict)))
        .cloned()
}

/// Adds what the endpoints' places say to the layer of the overlay.
pub(crate) fn placed(
    overlay: LayerReport,
    placement: Option<Placement>,
    of_cross: Option<Verdict>,
    test: String,
) -> LayerReport {
    let Some(placement) = placement else {
        return overlay;
    };
    let fails = placement.divides() && of_cross.as_ref().is_some_and(is_between);
    let sentence = placement.sentence(fails);
    let evidence = match (&overlay.evidence, overlay.result) {
        (Some(evidence), LayerResult::Ok | LayerResult::Failed) => {
            format!("{sentence}; {evidence}")
        }
        _ => sentence,
    };
    LayerReport {
        result: match overlay.result {
            LayerResult::Skipped | LayerResult::Blocked if fails => LayerResult::Failed,
            other => other,
        },
        test: if fails { test } else { overlay.test },
        verdict: overlay.verdict.or_else(|| of_cross.filter(|_| fails)),
        evidence: Some(evidence),
        ..overlay
    }
}

/// Whether a verdict leaves the path between the nodes as the cause.
fn is_between(verdict: &Verdict) -> bool {
    matches!(
        verdict.point,
        Point::Overlay | Point::OffNode | Point::Unknown
    )
}
