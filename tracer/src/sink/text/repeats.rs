//! What has happened again: one line with the count, instead of an entry each.

use super::{
    Page,
    canvas::{Paint, piece},
    story::Repeats,
    units::{INDENT, grouped},
};
use crate::words;

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
        "again".to_owned()
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
            piece(format!("as at {}", page.clock(repeats.of)), Paint::Dim),
        ],
    );
}
