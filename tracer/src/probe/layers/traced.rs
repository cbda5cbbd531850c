//! Firewall, overlay and listener: what the trace has seen of the probe's own packets, in the rows of
//! a trace.

use super::{mtu::Path, placement::Placement, sureness, without};
use crate::{
    model::{AttemptReport, DropReport, Layer, LayerReport, LayerResult, LayerRow, Point, Verdict},
    report::layers::Layers,
};

/// What the trace has seen of some attempts, and its rows over them alone.
pub(crate) struct Seen {
    rows: Vec<LayerRow>,
    attempts: Vec<AttemptReport>,
    drops: Vec<DropReport>,
}

impl Seen {
    /// That echo requests are filtered says nothing of the attempts.
    pub(crate) fn of(attempts: Vec<AttemptReport>, drops: Vec<DropReport>) -> Self {
        let (echoes, drops): (Vec<_>, Vec<_>) = drops
            .into_iter()
            .partition(|drop| drop.flow.proto.is_icmp() && drop.quoted.is_none());
        let mut layers = Layers::default();
        if let Some(filtered) = echoes.iter().find(|drop| is_of_rules(drop)) {
            layers.dropped_apart(format!(
                "echo requests are filtered: {}",
                filtered.verdict.why
            ));
        }
        for drop in &drops {
            layers.dropped(drop);
        }
        for attempt in &attempts {
            layers.attempted(attempt);
        }
        Self {
            // Where no packet of the probe was in a tunnel, there may be none.
            rows: layers.rows(true, false),
            attempts,
            drops,
        }
    }

    /// One of the layers, as the trace has it.
    pub(crate) fn layer(&self, layer: Layer, test: String) -> LayerReport {
        let row = self.rows.iter().find(|row| row.layer == layer);
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
        LayerReport {
            verdict: match result {
                LayerResult::Failed => self.surest(layer),
                _ => None,
            },
            ..without(layer, result, test, evidence.or(reason).unwrap_or_default())
        }
    }

    /// The surest verdict of that layer, on an attempt before one on a packet.
    fn surest(&self, layer: Layer) -> Option<Verdict> {
        let fits = |verdict: &&Verdict| match layer {
            Layer::Firewall => verdict.point == Point::Firewall,
            Layer::Overlay => verdict.point == Point::Overlay,
            Layer::Listener => matches!(verdict.point, Point::Listener | Point::Socket),
            _ => false,
        };
        let of_drops = self.drops.iter().map(|drop| &drop.verdict);
        let of_attempts = self.attempts.iter().filter_map(|one| one.verdict.as_ref());
        // Of equally sure ones, the last.
        let verdicts = of_drops.chain(of_attempts).filter(fits);
        verdicts
            .max_by_key(|verdict| sureness(Some(verdict)))
            .cloned()
    }
}

fn is_of_rules(drop: &DropReport) -> bool {
    matches!(drop.verdict.point, Point::Firewall | Point::Policy)
}

/// Adds what the search for the MTU has shown of the rules to the layer of the firewall: one that drops
/// packets by their size, or the errors about them.
pub(crate) fn searched(firewall: LayerReport, paths: &[Path], test: String) -> LayerReport {
    let Some(verdict) = paths.iter().find_map(Path::filtered) else {
        return firewall;
    };
    if firewall.result == LayerResult::Failed {
        return firewall;
    }
    let rule = verdict.evidence.first();
    let rule = rule.filter(|_| verdict.point == Point::Mtu);
    let rule = rule.map(|rule| format!("; {rule}")).unwrap_or_default();
    let evidence = format!("{}{rule}", verdict.why);
    LayerReport {
        verdict: Some(verdict),
        ..without(Layer::Firewall, LayerResult::Failed, test, evidence)
    }
}

fn unseen(layer: Layer) -> &'static str {
    match layer {
        Layer::Overlay => "no packet of the probe was seen in a tunnel on this node",
        Layer::Listener => "no handshake came as far as a listener",
        _ => "nothing that was seen shows that every packet got through",
    }
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
