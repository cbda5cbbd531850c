//! The end of a trace: how much was dropped, how much of it was shown, and by whom.

use unicode_width::UnicodeWidthStr;

use super::{
    Page,
    canvas::{Canvas, Paint, piece},
    layers,
    units::{INDENT, grouped, time},
    verdict::{alarm, blame, draw_remedy},
};
use crate::{
    model::{Layer, LayerResult, LayerRow, OtherVerdict, Outcome, Point, Summary, VerdictCount},
    words,
};

/// Draws the summary.
pub(super) fn draw(page: &mut Page<'_>, summary: &Summary) {
    draw_counts(page, summary);
    if !summary.verdicts.is_empty() {
        draw_verdicts(&mut page.canvas, &summary.verdicts);
    }
    let says = |row: &LayerRow| row.result != LayerResult::NotObserved || row.evidence.is_some();
    if summary.layers.iter().any(says) {
        page.canvas.line(0, 0, &[]);
        layers::draw(&mut page.canvas, page.style, &summary.layers);
    }
    draw_conclusion(page, summary);
}

/// How much was dropped, shown, lost, and how the attempts ended.
fn draw_counts(page: &mut Page<'_>, summary: &Summary) {
    let Summary {
        ts,
        drops,
        shown,
        folded,
        lost,
        noise,
        malformed,
        counted,
        attempts,
        untracked,
        verdicts,
        ..
    } = summary;
    let (canvas, style) = (&mut page.canvas, page.style);
    let mut title = vec![];
    if let Some(ts) = ts {
        title.push(piece(time(style, *ts, "%H:%M:%S%.3f"), Paint::Dim));
    }
    title.push(piece("summary", Paint::Bold));
    canvas.line(0, 0, &title);

    let of_listener = |verdict: &VerdictCount| verdict.point == Point::Listener;
    let meaning = if *drops == 0 && verdicts.iter().any(of_listener) {
        "no drop event matched; a listener whose queue is full drops SYNs without one".to_owned()
    } else if *drops == 0 {
        "no matching packet was dropped where this trace looked".to_owned()
    } else {
        format!("counted exactly; {} of them shown", grouped(*shown))
    };
    let mut rows = vec![("drops", *drops, meaning, Paint::Plain)];
    if *noise > 0 {
        let hint = "made by healthy traffic too, hidden; --noise shows them".to_owned();
        rows.push(("noise", *noise, hint, Paint::Dim));
    }
    if *folded > 0 {
        let hint = "records counted together: they were too many to show each".to_owned();
        rows.push(("folded", *folded, hint, Paint::Warn));
    }
    if *lost > 0 {
        let hint = if *lost == 1 {
            "event found the buffer full; its drop is counted"
        } else {
            "events found the buffer full; their drops are counted"
        }
        .to_owned();
        rows.push(("lost", *lost, hint, Paint::Warn));
    }
    if *malformed > 0 {
        let hint = "claimed to be IP and could not be parsed".to_owned();
        rows.push(("malformed", *malformed, hint, Paint::Warn));
    }
    if !attempts.is_empty() {
        let outcomes: Vec<_> = attempts
            .iter()
            .map(|(outcome, count)| format!("{} {}", grouped(*count), outcome.name()))
            .collect();
        let all = attempts.values().sum();
        let mut hint = outcomes.join(", ");
        if *counted > 0 {
            hint += &format!(" ({} of them only counted, not shown)", grouped(*counted));
        }
        rows.push(("attempts", all, hint, Paint::Plain));
    }
    if *untracked > 0 {
        let hint = if *untracked == 1 {
            "SYN found the table of attempts full, and was not followed"
        } else {
            "SYNs found the table of attempts full, and were not followed"
        }
        .to_owned();
        rows.push(("untracked", *untracked, hint, Paint::Warn));
    }
    let label = rows
        .iter()
        .map(|(label, ..)| label.len())
        .max()
        .unwrap_or_default();
    let number = rows
        .iter()
        .map(|(_, n, ..)| grouped(*n).len())
        .max()
        .unwrap_or_default();
    for (name, count, meaning, paint) in &rows {
        let head = format!("{name:label$}  {:>number$} ", grouped(*count));
        canvas.labelled(INDENT, &head, meaning, *paint);
    }
}

/// The main verdict, and what to do about it.
fn draw_conclusion(page: &mut Page<'_>, summary: &Summary) {
    let layers = &summary.layers;
    let all: u64 = summary.attempts.values().sum();
    let answered = summary.attempts.get(&Outcome::Answered).copied();
    let failed = all - answered.unwrap_or_default();
    let (text, paint) = if let Some(verdict) = &summary.verdict {
        let text = match summary.also.is_empty() {
            true => format!("{}: {}", blame(verdict), verdict.why),
            // Of several, each has its own share.
            false => {
                let failed = all > answered.unwrap_or_default();
                let much = share(summary.verdict_count, failed);
                format!("{}, {much}: {}", blame(verdict), verdict.why)
            }
        };
        (text, alarm(verdict.confidence))
    } else if failed > 0 {
        let attempts = if failed == 1 { "attempt" } else { "attempts" };
        let text = format!(
            "unknown: {} {attempts} failed, and what was seen does not say where",
            grouped(failed)
        );
        (text, Paint::Warn)
    } else if summary.drops > summary.noise_shown {
        let text = "unknown: what was seen does not say who dropped it".to_owned();
        (text, Paint::Warn)
    } else if let Some(row) = layers.iter().find(|row| row.result == LayerResult::Failed) {
        let how = row.verdict.as_deref().unwrap_or("failed");
        (format!("{}: {how}", row.layer.name()), Paint::Warn)
    } else if let Some(unread) = unread(layers) {
        let text = format!("no failure seen on the way to the server, but {unread}");
        (text, Paint::Warn)
    } else if all > 0 {
        ("no failure seen".to_owned(), Paint::Good)
    } else if summary.lost == 0 && summary.noise == 0 && summary.noise_shown == 0 {
        let text =
            "none; no connection attempt and no drop matched the filter where this trace looked"
                .to_owned();
        (text, Paint::Warn)
    } else {
        return;
    };
    page.canvas.line(0, 0, &[]);
    page.canvas.labelled(INDENT, "verdict:", &text, paint);
    if let Some(verdict) = &summary.verdict {
        draw_remedy(page, verdict.policy.as_ref(), &verdict.fix);
    }
    for other in &summary.also {
        let OtherVerdict {
            verdict, attempts, ..
        } = other;
        let much = share(other.count(), *attempts > 0);
        let text = format!("{}, {much}: {}", blame(verdict), verdict.why);
        page.canvas
            .labelled(INDENT, "also:", &text, alarm(verdict.confidence));
    }
    draw_other_manifests(page, summary);
}

/// What a server has left unread.
fn unread(layers: &[LayerRow]) -> Option<&str> {
    let mut rows = layers.iter();
    let row = rows.find(|row| row.layer == Layer::Application)?;
    row.evidence.as_deref()
}

/// How much a verdict explains.
fn share(count: u64, of_attempts: bool) -> String {
    let noun = if of_attempts { "attempt" } else { "packet" };
    words::count(count, noun)
}

/// The manifests of the other failing flows: each stands further up.
fn draw_other_manifests(page: &mut Page<'_>, summary: &Summary) {
    let own = summary.verdict.iter().flat_map(|verdict| &verdict.fix);
    let own: Vec<_> = own
        .filter_map(|fix| Some(fix.as_manifest()?.file.as_str()))
        .collect();
    for (file, flow) in &page.manifests.files {
        if !own.contains(&file.as_str()) {
            let text = format!("{file}, as shown above for {flow}");
            page.canvas.labelled(INDENT, "also:", &text, Paint::Act);
        }
    }
}

/// A table: how often, where, why.
fn draw_verdicts(canvas: &mut Canvas<'_>, verdicts: &[VerdictCount]) {
    let rows: Vec<_> = verdicts
        .iter()
        .map(|v| (grouped(v.count), v.point.name(), v.why.as_str()))
        .collect();
    let header = ("count".to_owned(), "verdict", "why");
    let all = || rows.iter().chain([&header]);
    let count = all()
        .map(|(count, ..)| count.width())
        .max()
        .unwrap_or_default();
    let point = all()
        .map(|(_, point, _)| point.width())
        .max()
        .unwrap_or_default();
    canvas.line(0, 0, &[]);
    for (row, paint) in [(&header, Paint::Dim)]
        .into_iter()
        .chain(rows.iter().map(|row| (row, Paint::Plain)))
    {
        let (n, name, why) = row;
        canvas.labelled(INDENT, &format!("{n:>count$}  {name:point$} "), why, paint);
    }
}
