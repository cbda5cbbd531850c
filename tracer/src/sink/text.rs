//! Records for people: a few lines each, the important ones first.

use super::{
    Style, attempt,
    canvas::{Canvas, Paint, details, piece},
    drop, summary,
    units::{INDENT, grouped, time},
};
use crate::{
    model::{Lost, Report, Started, Verdict},
    words,
};

/// Renders records as text.
#[derive(Debug)]
pub(super) struct Text {
    style: Style,
    /// What the drop or attempt before was explained by: a storm of alike ones needs telling once.
    told: Option<Verdict>,
}

impl Text {
    pub(super) fn new(style: Style) -> Self {
        Self { style, told: None }
    }

    pub(super) fn resize(&mut self, width: Option<usize>) {
        self.style.width = width;
    }

    /// Whether the record before said the same. An attempt has its ladder among the evidence, which
    /// is drawn anyway.
    fn was_told(&self, verdict: &Verdict) -> bool {
        let told = |told: &Verdict| {
            (told.point, &told.why, &told.fix) == (verdict.point, &verdict.why, &verdict.fix)
        };
        self.told.as_ref().is_some_and(told)
    }

    /// The lines of one record.
    pub(super) fn render(&mut self, report: &Report) -> String {
        let mut canvas = Canvas::new(&self.style);
        match report {
            Report::Started(started) => draw_started(&mut canvas, &self.style, started),
            Report::Drop(drop) => {
                let known = self.was_told(&drop.verdict);
                drop::draw(&mut canvas, &self.style, drop, known);
                self.told = Some(drop.verdict.clone());
            }
            Report::Attempt(attempt) => {
                let known = attempt
                    .verdict
                    .as_ref()
                    .is_some_and(|verdict| self.was_told(verdict));
                attempt::draw(&mut canvas, &self.style, attempt, known);
                if attempt.verdict.is_some() {
                    self.told.clone_from(&attempt.verdict);
                }
            }
            Report::Lost(lost) => draw_lost(&mut canvas, &self.style, lost),
            Report::Summary(sums) => summary::draw(&mut canvas, &self.style, sums),
        }
        canvas.finish()
    }
}

fn draw_started(canvas: &mut Canvas<'_>, style: &Style, started: &Started) {
    let Started {
        ts,
        kernel,
        interfaces,
        hooks,
        degraded,
        filter,
    } = started;
    // The date and the zone once, so that the times below need none.
    let mut pieces = vec![
        piece(time(style, *ts, "%F %T %Z"), Paint::Dim),
        piece("watching", Paint::Plain),
    ];
    // By words: a list of namespaces may be longer than a line.
    let words = filter.split_whitespace();
    pieces.extend(words.map(|word| piece(word, Paint::Bold).after(" ")));
    let mut facts = vec![format!("kernel {kernel}")];
    if !hooks.is_empty() {
        facts.push(hooks.join(", "));
    }
    if *interfaces > 0 {
        facts.push(words::count(*interfaces as u64, "interface"));
    }
    pieces.extend(details(&facts));
    canvas.line(0, INDENT, &pieces);
    for sentence in degraded {
        canvas.labelled(0, "!", sentence, Paint::Warn);
    }
    if style.interactive {
        canvas.line(
            0,
            0,
            &[piece(
                "waiting for packets; Ctrl-C ends with a summary",
                Paint::Dim,
            )],
        );
    }
}

fn draw_lost(canvas: &mut Canvas<'_>, style: &Style, lost: &Lost) {
    let Lost { ts, events, place } = lost;
    let stamp = time(style, *ts, "%H:%M:%S%.3f");
    let text = format!(
        "{} event{} lost in {place}: not every drop is shown",
        grouped(*events),
        if *events == 1 { "" } else { "s" },
    );
    canvas.labelled(0, &format!("{stamp}  !"), &text, Paint::Warn);
}

#[cfg(test)]
mod tests;
