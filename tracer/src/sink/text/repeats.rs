//! What has happened again: one line with the count, instead of an entry each.

use super::{
    Page,
    canvas::{Paint, piece},
    story::Repeats,
    units::{INDENT, grouped},
};
use crate::{
    model::{More, Point},
    words,
};

pub(super) fn draw(page: &mut Page<'_>, repeats: &Repeats) {
    let mut counts = Vec::new();
    if repeats.packets > 0 {
        counts.push(format!("×{}", grouped(repeats.packets)));
    }
    if repeats.attempts > 0 {
        counts.push(words::count(repeats.attempts, "more attempt"));
    }
    let seconds = repeats.span.as_secs_f64();
    let span = if repeats.span.is_zero() {
        match repeats.attempts {
            0 => "again".to_owned(),
            _ => String::new(),
        }
    } else if seconds < 1.0 {
        format!("in {:.0} ms", seconds * 1000.0)
    } else {
        format!("in {seconds:.0} s")
    };
    page.canvas.line(
        0,
        INDENT,
        &[
            piece(page.clock(repeats.until), Paint::Dim),
            piece(counts.join(", "), Paint::Bold),
            piece(span, Paint::Plain).after(" "),
            piece(repeats.point.name(), Paint::Warn),
            piece(&repeats.ends, Paint::Plain).elidable(),
            piece(format!("see {}", page.clock(repeats.of)), Paint::Dim),
        ],
    );
}

/// What was too much to show.
pub(super) fn draw_more(page: &mut Page<'_>, more: &More) {
    let s = |count: u64| if count == 1 { "" } else { "s" };
    let (noun, outcome) = match more.outcome {
        None => ("drop", ""),
        Some(outcome) => ("attempt", outcome.name()),
    };
    let what = format!(
        "{} more {noun}{} {outcome}",
        grouped(more.count),
        s(more.count)
    );
    let sources = format!("{} source{}", grouped(more.sources), s(more.sources));
    page.canvas.line(
        0,
        INDENT,
        &[
            piece(page.clock(more.ts), Paint::Dim),
            piece(format!("… and {}", what.trim_end()), Paint::Bold),
            piece(format!("alike from {sources}"), Paint::Plain).after(" "),
            piece(more.point.map_or("", Point::name), Paint::Warn),
            piece(more.why.as_deref().unwrap_or_default(), Paint::Plain).elidable(),
        ],
    );
}
