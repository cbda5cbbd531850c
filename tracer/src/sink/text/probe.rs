//! A probe: what it will send, the table of its layers as it fills, and what fails.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};
use unicode_width::UnicodeWidthStr as _;

use super::{
    Page,
    canvas::{NARROWEST, Paint, piece, sanitized},
    ladder, layers,
    units::INDENT,
    verdict::{alarm, blame, draw_verdict},
};
use crate::{
    model::{
        AttemptReport, Layer, LayerReport, LayerResult, LayerRow, Outcome, PlanReport, Protocol,
        Sending, Started, Summary, Verdict, address,
    },
    words,
};

/// What a probe has shown so far.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// The attempts that failed: their ladders stand below the verdict.
    failed: Vec<AttemptReport>,
    /// The verdicts of the layers that fail, each once, with the layer's name.
    verdicts: Vec<(&'static str, Verdict)>,
    has_header: bool,
    /// Layers so far: those that pass, and all.
    layers: (usize, usize),
}

/// Columns of a pipe: lines of any length would not make a table.
const PIPE: usize = 160;
/// Below this, each test stands under its row.
const ROOMY: usize = 110;
/// Columns between columns.
const GAP: u16 = 2;
const LAYER: u16 = 11;
const RESULT: u16 = 8;

impl Probe {
    /// Keeps an attempt for later.
    pub(super) fn attempt(&mut self, attempt: &AttemptReport) {
        let key = |one: &AttemptReport| (one.flow, one.isn, one.ts);
        self.failed.retain(|known| key(known) != key(attempt));
        if attempt.outcome != Outcome::Answered {
            self.failed.push(attempt.clone());
        }
    }

    /// Draws what will be sent.
    pub(super) fn plan(page: &mut Page<'_>, plan: &PlanReport) {
        let from = plan.from.as_deref().unwrap_or("this node");
        let title = format!("{from} → {}", plan.to);
        let netns = format!("sends from {}:", words::namespace(&plan.netns));
        page.canvas.line(
            0,
            INDENT,
            &[
                piece("probe", Paint::Bold),
                piece(sanitized(&title), Paint::Bold),
                piece(sanitized(&netns), Paint::Dim),
            ],
        );
        for sending in &plan.sends {
            let what = sending_in_words(sending);
            page.canvas
                .labelled(INDENT, sending.layer.name(), &what, Paint::Plain);
            let command = sanitized(&sending.test);
            page.canvas.verbatim(2 * INDENT, "$", &command, Paint::Dim);
        }
        for skip in &plan.skips {
            let text = format!("nothing: {}", skip.reason);
            page.canvas
                .labelled(INDENT, skip.layer.name(), &text, Paint::Dim);
        }
    }

    /// Says what the trace behind it cannot see.
    pub(super) fn started(page: &mut Page<'_>, started: &Started) {
        for gap in &started.degraded {
            page.canvas.labelled(0, "!", gap, Paint::Warn);
        }
    }

    /// Draws a layer that is done, and each of its tests.
    pub(super) fn layer(&mut self, page: &mut Page<'_>, layer: &LayerReport) {
        if !std::mem::replace(&mut self.has_header, true) {
            page.canvas.gap();
            draw_cells(
                page,
                ["Layer", "Test", "Result", "Evidence", "Verdict"],
                Paint::Dim,
                true,
            );
        }
        self.layers.0 += usize::from(layer.result == LayerResult::Ok);
        self.layers.1 += 1;
        if layer.result == LayerResult::Failed
            && let Some(verdict) = &layer.verdict
        {
            self.blame(layer.layer.name(), verdict);
        }
        let mut row = layer.row();
        if !layer.tests.is_empty() {
            row.test = "".into();
        }
        draw_row(page, row.layer.name(), &row);
        for test in &layer.tests {
            let row = test.row(layer.layer);
            draw_row(page, "", &row);
            if let Some(verdict) = test
                .verdict
                .as_ref()
                .filter(|_| row.result == LayerResult::Failed)
            {
                self.blame(layer.layer.name(), verdict);
            }
        }
    }

    fn blame(&mut self, layer: &'static str, verdict: &Verdict) {
        let cause = verdict.cause();
        if !self.verdicts.iter().any(|(_, known)| known.blames(&cause)) {
            self.verdicts.push((layer, verdict.clone()));
        }
    }

    /// Draws the verdicts, the main one first, each with its ladder and what to do.
    pub(super) fn summary(&mut self, page: &mut Page<'_>, summary: &Summary) {
        page.canvas.gap();
        if let Some(main) = &summary.verdict {
            let cause = main.cause();
            self.verdicts
                .sort_by_key(|(_, known)| !known.blames(&cause));
        }
        for (layer, verdict) in &self.verdicts {
            let paint = alarm(verdict.confidence);
            let head = [piece(blame(verdict), paint), piece(*layer, Paint::Bold)];
            page.canvas.line(0, INDENT, &head);
            draw_verdict(page, verdict);
            let cause = verdict.cause();
            let of_it =
                |one: &&AttemptReport| one.verdict.as_ref().is_some_and(|v| v.blames(&cause));
            if let Some(attempt) = self.failed.iter().find(of_it) {
                ladder::draw(&mut page.canvas, attempt);
            }
        }
        let failing = summary
            .layers
            .iter()
            .filter(|row| row.result == LayerResult::Failed);
        let failing: Vec<_> = failing.map(|row| row.layer.name()).collect();
        let (passing, all) = self.layers;
        let (text, paint) = match failing.as_slice() {
            [] => (
                format!("no layer fails: {passing} of {all} were seen to work"),
                Paint::Good,
            ),
            [one] => (format!("{one} fails"), Paint::Bad),
            several => (format!("{} fail", several.join(", ")), Paint::Bad),
        };
        page.canvas.labelled(0, "result:", &text, paint);
    }
}

fn sending_in_words(sending: &Sending) -> String {
    let Sending {
        layer,
        proto,
        dst,
        addresses,
        dport,
        most,
        segments,
        ..
    } = sending;
    let to = match (dst, addresses) {
        (Some(ip), _) => address((*ip, *dport)),
        (None, Some(1)) => "the first address that TCP reaches".to_owned(),
        (None, several) => {
            let port = dport.map(|port| format!("port {port} of "));
            let most = several.map_or("each".to_owned(), |most| format!("each of at most {most}"));
            format!("{}{most} addresses of the name", port.unwrap_or_default())
        }
    };
    let segments = segments.map(|count| format!(", with at most {count} segments of all sizes"));
    let segments = segments.unwrap_or_default();
    let when = match (layer, proto) {
        (Layer::Dns, Protocol::Tcp) => ", where an answer is truncated",
        (Layer::Mtu, Protocol::Tcp) => ", where echo requests are not answered",
        _ => "",
    };
    format!("at most {most} × {proto} to {to}{segments}{when}")
}

fn draw_row(page: &mut Page<'_>, layer: &str, row: &LayerRow) {
    let text = |text: &Option<String>| match text {
        Some(text) => sanitized(text).into_owned(),
        None => String::new(),
    };
    let (evidence, verdict) = (text(&row.evidence), text(&row.verdict));
    let test = sanitized(&row.test).into_owned();
    let cells = [
        layer,
        &test,
        layers::result(row.result),
        &evidence,
        &verdict,
    ];
    draw_cells(page, cells, layers::paint(row.result), false);
}

/// Draws one row; `paint` is for the result only, or for the whole header.
fn draw_cells(page: &mut Page<'_>, cells: [&str; 5], paint: Paint, is_header: bool) {
    let width = page.style.width.unwrap_or(PIPE).max(NARROWEST);
    let is_roomy = width >= ROOMY;
    let [layer, test, result, evidence, verdict] = cells;
    let wide = u16::try_from(width).unwrap_or(u16::MAX);
    let of_verdict = (wide / 6).clamp(12, 23);
    let rest = wide.saturating_sub(LAYER + RESULT + of_verdict + 4 * GAP);
    let of_test = if is_roomy { rest * 2 / 5 } else { 0 };
    // A command that does not fit stands below in one piece, so that it can be pasted.
    let has_room = is_roomy && test.width() <= usize::from(of_test);
    let mut columns = vec![(layer, LAYER)];
    if is_roomy {
        columns.push((if has_room { test } else { "" }, of_test));
    }
    columns.extend([
        (result, RESULT),
        (evidence, rest.saturating_sub(of_test).max(8)),
        (verdict, of_verdict),
    ]);
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(wide + GAP);
    table.add_row(columns.iter().map(|(text, _)| *text));
    for (column, (_, wide)) in table.column_iter_mut().zip(&columns) {
        column.set_padding((0, GAP));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(wide + GAP)));
    }
    let start = usize::from(LAYER + GAP + if is_roomy { of_test + GAP } else { 0 });
    let range = start..start + usize::from(RESULT + GAP);
    for line in table.lines() {
        let pieces = match is_header {
            true => vec![piece(line.trim_end(), paint)],
            false => layers::painted(&line, &range, paint),
        };
        page.canvas.line(0, 0, &pieces);
    }
    // What was not asked needs no command here: the reason says how to ask.
    let is_asked = result != layers::result(LayerResult::Skipped);
    if !has_room && !is_header && is_asked && !test.is_empty() {
        page.canvas
            .verbatim(usize::from(LAYER + GAP), "$", test, Paint::Dim);
    }
}
