//! An attempt's path through several nodes: its ladder node by node, and the wire between them.

use super::{
    Page, attempt,
    canvas::{Paint, piece},
    ladder::{HANG, Table},
    packet,
    units::INDENT,
};
use crate::model::{AttemptReport, Between, NodeClock, Outcome, Outer, PathHop, PathReport};

pub(super) fn draw(page: &mut Page<'_>, path: &PathReport) {
    attempt::draw_head(page, &as_attempt(path));
    if path.outcome == Outcome::Answered {
        return;
    }
    let all = path.hops.iter().chain(&path.reply_hops);
    let table = Table::new(&all.map(|hop| &hop.hop), path.outcome == Outcome::Stalled);
    draw_hops(page, &table, &path.hops);
    if !path.reply_hops.is_empty() {
        page.canvas
            .labelled(INDENT, "←", "what came back", Paint::Bold);
        draw_hops(page, &table, &path.reply_hops);
    }
    draw_gap(page, path.between.as_ref());
    draw_clocks(page, &path.clock);
}

/// The rows of each node below its name.
fn draw_hops(page: &mut Page<'_>, table: &Table, hops: &[PathHop]) {
    let mut node = None;
    for hop in hops {
        if node != Some(&hop.node) {
            let name = piece(format!("{}:", hop.node), Paint::Bold).elidable();
            page.canvas.line(INDENT, INDENT, &[name]);
            node = Some(&hop.node);
        }
        page.canvas.line(INDENT + 2, HANG + 2, &table.row(&hop.hop));
    }
}

fn draw_gap(page: &mut Page<'_>, between: Option<&Between>) {
    let Some(Between { from, to, outer }) = between else {
        return;
    };
    let inside = outer.as_ref().map(|outer| {
        format!(
            " inside {} {}",
            packet::tunnel(&Outer::from(*outer)),
            packet::ends(outer)
        )
    });
    let text = format!("lost between {from} and {to}{}", inside.unwrap_or_default());
    page.canvas.labelled(INDENT, "✗", &text, Paint::Bad);
}

/// How the clocks compare, where there are several.
fn draw_clocks(page: &mut Page<'_>, clocks: &[NodeClock]) {
    for clock in clocks.iter().skip(1) {
        let text = match (clock.offset_us, clock.uncertainty_us) {
            (None, _) => format!("{}: not compared with the first node's", clock.node),
            (Some(offset), None) => format!("{}: some {}", clock.node, millis(offset)),
            (Some(offset), Some(most)) => format!(
                "{}: {}, give or take {:.3} ms",
                clock.node,
                millis(offset),
                most as f64 / 1000.0
            ),
        };
        page.canvas.labelled(INDENT, "clock of", &text, Paint::Dim);
    }
}

fn millis(micros: i64) -> String {
    format!("{:+.3} ms", micros as f64 / 1000.0)
}

/// The path's head, as that of an attempt that one node saw.
pub(in crate::sink) fn as_attempt(path: &PathReport) -> AttemptReport {
    AttemptReport {
        ts: path.ts,
        flow: path.flow,
        original_dst: path.original_dst,
        translated: None,
        src_pod: path.src_pod.clone(),
        dst_pod: path.dst_pod.clone(),
        src_owner: None,
        dst_owner: None,
        service: None,
        outcome: path.outcome,
        corrects: None,
        syns: path.syns,
        waited_ms: path.waited_ms,
        isn: path.isn,
        dns: path.dns.clone(),
        tls: None,
        by: None,
        process: None,
        hops: Vec::new(),
        reply: None,
        reply_hops: Vec::new(),
        verdict: path.verdict.clone(),
    }
}
