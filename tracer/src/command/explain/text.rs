//! The answer for people: what, why, and what to do.

use super::report::{Report, SideReport};
use crate::{
    model::{Apply, Fix},
    sink::{Canvas, Paint, Style, piece},
};

/// Rules shown of a side; all are in the JSON.
const MISSES_SHOWN: usize = 4;

/// The answer, in lines.
pub(super) fn render(report: &Report, style: &Style) -> String {
    let mut canvas = Canvas::new(style);
    let (word, paint) = match report.allowed {
        Some(true) => ("allowed", Paint::Good),
        Some(false) => ("denied", Paint::Bad),
        None => ("undecidable", Paint::Warn),
    };
    let plain =
        |canvas: &mut Canvas<'_>, text: &str, paint| canvas.sentence((0, 0), &[], text, paint);
    plain(&mut canvas, &format!("{}:", report.flow), Paint::Plain);
    plain(
        &mut canvas,
        &format!("{word} by the NetworkPolicies"),
        paint,
    );
    canvas.gap();
    draw_side(&mut canvas, "egress", &report.egress);
    draw_side(&mut canvas, "ingress", &report.ingress);
    for warning in &report.warnings {
        canvas.labelled(0, "!", warning, Paint::Warn);
    }
    for fix in report.verdict.iter().flat_map(|verdict| &verdict.fix) {
        draw_fix(&mut canvas, fix);
    }
    canvas.finish()
}

fn draw_fix(canvas: &mut Canvas<'_>, fix: &Fix) {
    let copied = |canvas: &mut Canvas<'_>, title: &str, text: &str| {
        canvas.sentence((0, 0), &[], title, Paint::Plain);
        canvas.verbatim(0, "", text, Paint::Act);
    };
    if matches!(fix.apply, Apply::Advice(_)) {
        canvas.gap();
        canvas.labelled(0, "advice:", &fix.line(), Paint::Act);
        return;
    }
    if let Some(manifest) = fix.as_manifest() {
        let title = match &manifest.also {
            None => "to admit this flow and nothing else, save:".to_owned(),
            Some(also) => format!("to admit this flow, save this, which also {also}:"),
        };
        canvas.gap();
        copied(canvas, &title, &manifest.text());
    }
    copied(canvas, "then apply it:", &fix.line());
    if let Some(undo) = fix.undo_line() {
        copied(canvas, "to remove it again:", &undo);
    }
}

/// Columns of a side's name.
const NAME: usize = "ingress".len();
/// Where what is said of a side begins.
const BESIDE: usize = NAME + 2;

fn draw_side(canvas: &mut Canvas<'_>, name: &str, side: &SideReport) {
    let policies = side.policies.join(", ");
    let (words, paint) = match (&side.pod, side.isolated, side.allowed) {
        (_, _, None) => {
            let because = side.undecidable_because.as_deref().unwrap_or_default();
            (format!("undecidable: {because}"), Paint::Warn)
        }
        (None, ..) => (
            "no pod that policies could isolate".to_owned(),
            Paint::Plain,
        ),
        (Some(pod), Some(true), Some(true)) => {
            let by = side.exempt_because.clone();
            let by = by.unwrap_or_else(|| format!("admitted by {}", side.admitted_by.join(", ")));
            (
                format!("{pod} is isolated by {policies}; {by}"),
                Paint::Plain,
            )
        }
        (Some(pod), _, Some(true)) => (
            format!("{pod} is not isolated: no policy selects it"),
            Paint::Plain,
        ),
        (Some(pod), _, Some(false)) => (
            format!("{pod} is isolated by {policies}, and no rule admits this"),
            Paint::Bad,
        ),
    };
    let name = piece(name, Paint::Plain).padded(NAME);
    canvas.sentence((0, BESIDE), &[name], &words, paint);
    if side.allowed == Some(false) {
        for miss in side.near_misses.iter().take(MISSES_SHOWN) {
            canvas.labelled(BESIDE, "-", miss, Paint::Plain);
        }
        if let Some(more @ 1..) = side.near_misses.len().checked_sub(MISSES_SHOWN) {
            let more = format!("{more} more with -o json");
            canvas.labelled(BESIDE, "-", &more, Paint::Plain);
        }
        if let Some(missing) = &side.missing {
            canvas.labelled(BESIDE, "missing:", missing, Paint::Plain);
        }
    }
}
