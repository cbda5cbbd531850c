//! The table of layers at the end of a trace.

use std::ops::Range;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};

use super::{
    canvas::{Canvas, NARROWEST, Paint, Piece, piece, sanitized},
    units::INDENT,
};
use crate::model::{LayerResult, LayerRow};
use crate::sink::Style;

const HEADER: [&str; 5] = ["Layer", "Test", "Result", "Evidence", "Verdict"];
/// Columns between columns.
const GAP: u16 = 2;
/// Below this, the table is not indented, and `not observed` takes two lines.
const ROOMY: usize = 80;
/// Below this, the tests are left out.
const CRAMPED: u16 = 56;

/// Draws the table, as wide as the terminal at most.
pub(super) fn draw(canvas: &mut Canvas<'_>, style: &Style, rows: &[LayerRow]) {
    let width = style.width.map(|width| width.max(NARROWEST));
    let indent = match width {
        Some(width) if width < ROOMY => 0,
        _ => INDENT,
    };
    let (table, result) = layout(rows, width.map(|width| width - indent));
    let mut lines = table.lines();
    let Some(header) = lines.next() else { return };
    canvas.line(indent, 0, &[piece(header.trim_end(), Paint::Dim)]);
    let mut paints = rows.iter().map(|row| paint(row.result));
    let mut current = Paint::Plain;
    for line in lines {
        if !line.starts_with(' ') {
            current = paints.next().unwrap_or(Paint::Plain);
        }
        canvas.line(indent, 0, &painted(&line, &result, current));
    }
}

/// A line of the table, in which only the result is painted. Up to there, a column is a character.
pub(super) fn painted(line: &str, result: &Range<usize>, paint: Paint) -> Vec<Piece> {
    let at = |column| {
        let found = line.char_indices().nth(column);
        found.map_or(line.len(), |(at, _)| at)
    };
    let (head, rest) = line.split_at(at(result.start));
    let (word, tail) = rest.split_at(at(result.end).saturating_sub(head.len()));
    let parts = [(head, Paint::Plain), (word, paint), (tail, Paint::Plain)];
    let end = parts.iter().rposition(|(text, _)| !text.trim().is_empty());
    let mut pieces = Vec::new();
    for (n, (text, paint)) in parts.into_iter().enumerate() {
        let text = match end {
            Some(end) if n > end => continue,
            Some(end) if n == end => text.trim_end(),
            _ => text,
        };
        pieces.push(piece(text, paint).after(""));
    }
    pieces
}

/// The table, and the columns that the result takes.
fn layout(rows: &[LayerRow], width: Option<usize>) -> (Table, Range<usize>) {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(HEADER);
    for row in rows {
        let text = |text: &Option<String>| match text {
            Some(text) => sanitized(text).into_owned(),
            None => String::new(),
        };
        let (evidence, verdict) = (text(&row.evidence), text(&row.verdict));
        let result = result(row.result);
        table.add_row([
            row.layer.name(),
            row.test.as_ref(),
            result,
            &evidence,
            &verdict,
        ]);
    }
    let mut wide: Vec<_> = table.column_max_content_widths();
    if let Some(width) = width.and_then(|width| u16::try_from(width).ok()) {
        fit(&mut wide, width);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width + GAP);
    }
    let mut ends = Vec::new();
    for (column, wide) in table.column_iter_mut().zip(wide) {
        column.set_padding((0, GAP));
        let before = ends.last().copied().unwrap_or(0);
        if wide == 0 {
            column.set_constraint(ColumnConstraint::Hidden);
            ends.push(before);
        } else {
            let wide = wide + GAP;
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(wide)));
            ends.push(before + usize::from(wide));
        }
    }
    let result = match ends[..] {
        [_, start, end, ..] => start..end,
        _ => 0..0,
    };
    (table, result)
}

/// Makes the columns fit: the first ones stay whole, evidence and verdict share the rest. 0 hides
/// a column.
fn fit(wide: &mut [u16], width: u16) {
    let [layer, test, result, evidence, verdict] = wide else {
        return;
    };
    if usize::from(width) + INDENT < ROOMY {
        *result = 8;
    }
    if width < CRAMPED {
        *test = 0;
    }
    let room = width.saturating_sub(*layer + *test + *result + 4 * GAP);
    *verdict = (*verdict).min((room / 3).max(12));
    *evidence = (*evidence).min(room.saturating_sub(*verdict)).max(1);
}

pub(super) fn result(result: LayerResult) -> &'static str {
    match result {
        LayerResult::Ok => "✓ ok",
        LayerResult::Failed => "✗ failed",
        LayerResult::Blocked => "blocked",
        LayerResult::NotObserved => "not observed",
        LayerResult::Skipped => "skipped",
    }
}

pub(super) fn paint(result: LayerResult) -> Paint {
    match result {
        LayerResult::Ok => Paint::Good,
        LayerResult::Failed => Paint::Bad,
        LayerResult::Blocked => Paint::Warn,
        LayerResult::NotObserved | LayerResult::Skipped => Paint::Dim,
    }
}

#[cfg(test)]
mod tests;
