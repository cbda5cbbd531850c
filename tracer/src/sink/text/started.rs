//! The first line: what is watched, and what cannot be seen here.

use super::{
    Page,
    canvas::{Paint, details, piece},
    units::{INDENT, time},
};
use crate::{model::Started, words};

pub(super) fn draw(page: &mut Page<'_>, started: &Started) {
    // The date and the zone once, so that the times below need none.
    let mut pieces = vec![
        piece(time(page.style, started.ts, "%F %T %Z"), Paint::Dim),
        piece("watching", Paint::Plain),
    ];
    // By words: a list of namespaces may be longer than a line.
    let words = started.filter.split_whitespace();
    pieces.extend(words.map(|word| piece(word, Paint::Bold).after(" ")));
    let mut facts = vec![format!("kernel {}", started.kernel)];
    if page.verbose && !started.hooks.is_empty() {
        facts.push(started.hooks.join(", "));
    }
    if started.interfaces > 0 {
        facts.push(words::count(started.interfaces as u64, "interface"));
    }
    pieces.extend(details(&facts));
    page.canvas.line(0, INDENT, &pieces);
    for sentence in &started.degraded {
        page.canvas.labelled(0, "!", sentence, Paint::Warn);
    }
    if page.style.interactive {
        let hint = "waiting for packets; Ctrl-C ends with a summary";
        page.canvas.line(0, 0, &[piece(hint, Paint::Dim)]);
    }
}
