//! A connection attempt: its outcome in one line and, unless it was answered, why, and how far it
//! came.

use std::time::SystemTime;

use super::{
    Page,
    canvas::{Paint, Piece, piece},
    ladder, packet,
    units::INDENT,
    verdict::{draw_verdict, point},
};
use crate::{
    model::{AttemptReport, Outcome, Point, address},
    words,
};

/// Draws an attempt as an entry of its own.
pub(super) fn draw(page: &mut Page<'_>, attempt: &AttemptReport) {
    draw_head(page, attempt);
    if attempt.outcome != Outcome::Answered {
        ladder::draw(&mut page.canvas, attempt);
    }
}

/// Draws who lost it, and why: all but its ladder.
pub(super) fn draw_head(page: &mut Page<'_>, attempt: &AttemptReport) {
    let mut pieces = vec![piece(page.clock(attempt.ts), Paint::Dim)];
    pieces.extend(blame(attempt));
    pieces.extend(ends(attempt));
    pieces.push(kind(attempt));
    pieces.extend(outcome(attempt));
    if let (Outcome::Answered, None, Some(flow)) =
        (attempt.outcome, &attempt.service, packet::backend(attempt))
    {
        let text = format!("at {}", address(flow.destination()));
        pieces.push(piece(text, Paint::Dim));
    }
    page.canvas.line(0, INDENT, &pieces);
    // People trace for failures: of what works, one line is enough.
    if attempt.outcome != Outcome::Answered {
        if attempt.src_pod.is_some() || attempt.dst_pod.is_some() {
            let addresses = packet::ends(&attempt.flow);
            page.canvas
                .labelled(INDENT, "addresses", &addresses, Paint::Dim);
        }
        let owners = (attempt.src_owner.as_ref(), attempt.dst_owner.as_ref());
        packet::draw_owners(&mut page.canvas, &attempt.flow, owners);
    }
    if let Some(verdict) = &attempt.verdict {
        page.manifests.flow = format!(
            "{} → {}",
            packet::end(attempt.src_pod.as_ref(), attempt.flow.src, None),
            packet::end(
                attempt.dst_pod.as_ref(),
                attempt.flow.dst,
                attempt.flow.dport
            )
        );
        draw_verdict(page, verdict);
    }
}

/// Draws how an attempt ended whose drop stands above: right above where it is `adjacent`, and at
/// the time `of` otherwise.
pub(super) fn draw_ending(
    page: &mut Page<'_>,
    attempt: &AttemptReport,
    of: SystemTime,
    adjacent: bool,
) {
    let mut pieces = Vec::new();
    if !adjacent {
        pieces.push(piece(page.clock(attempt.ts), Paint::Dim));
        pieces.extend(blame(attempt));
        pieces.extend(ends(attempt));
        pieces.push(kind(attempt));
    }
    pieces.extend(outcome(attempt));
    if !adjacent {
        pieces.push(piece(format!("see {}", page.clock(of)), Paint::Dim));
    }
    let indent = if adjacent { INDENT } else { 0 };
    page.canvas.line(indent, INDENT, &pieces);
    ladder::draw(&mut page.canvas, attempt);
}

/// The dropping point, where there is one.
fn blame(attempt: &AttemptReport) -> Option<Piece> {
    let verdict = attempt.verdict.as_ref()?;
    match (attempt.outcome, verdict.point) {
        (_, Point::Unknown) => None,
        // A closed port did what it should: no alarm, however sure we are.
        (Outcome::Refused, Point::Socket) => Some(point(verdict).painted(Paint::Warn)),
        _ => Some(point(verdict)),
    }
}

/// From where to where, and what for.
fn ends(attempt: &AttemptReport) -> Vec<Piece> {
    let AttemptReport { flow, .. } = attempt;
    let src = match &attempt.process {
        // Before a packet is sent, it may have no address yet.
        Some(process) if flow.src.is_unspecified() => match &attempt.src_pod {
            Some(pod) => format!("{pod} {process}"),
            None => process.clone(),
        },
        _ => packet::end(attempt.src_pod.as_ref(), flow.src, flow.sport),
    };
    let src = piece(format!("{src} →"), Paint::Plain);
    if let Some((service, behind)) = packet::service_ends(attempt) {
        return vec![
            src,
            piece(service, Paint::Plain).after(" "),
            piece(format!("({behind})"), Paint::Dim).after(" "),
        ];
    }
    let dst = packet::end(attempt.dst_pod.as_ref(), flow.dst, flow.dport);
    let mut pieces = vec![src, piece(dst, Paint::Plain).after(" ")];
    let asked_for = attempt
        .original_dst
        .filter(|asked_for| *asked_for != (flow.dst, flow.dport));
    if let Some(asked_for) = asked_for {
        let text = format!("(for {})", address(asked_for));
        pieces.push(piece(text, Paint::Dim).after(" "));
    }
    pieces
}

/// `tcp`, or the DNS question.
fn kind(attempt: &AttemptReport) -> Piece {
    match &attempt.dns {
        Some(dns) => {
            let text = format!("dns {} {}", dns.qtype, dns.question);
            piece(text, Paint::Plain).elidable()
        }
        None => piece(packet::what(&attempt.flow, None), Paint::Plain),
    }
}

/// The outcome, who caused it, how late, and after how many tries.
fn outcome(attempt: &AttemptReport) -> Vec<Piece> {
    let AttemptReport { outcome, dns, .. } = attempt;
    // A refusal is an answer too, if not the one that was hoped for.
    let (mark, paint) = match outcome {
        Outcome::Answered => ("✓", Paint::Good),
        Outcome::Refused | Outcome::Rejected => ("✗", Paint::Warn),
        Outcome::Unanswered | Outcome::Stalled | Outcome::Unsent => ("✗", Paint::Bad),
    };
    let mut pieces = vec![piece(format!("{mark} {}", outcome.name()), paint)];
    if let Some(rcode) = dns.as_ref().and_then(|dns| dns.rcode.as_ref()) {
        let paint = match rcode.as_str() {
            "NOERROR" => Paint::Good,
            _ => Paint::Warn,
        };
        pieces.push(piece(rcode, paint).after(" "));
    }
    if let (Outcome::Refused | Outcome::Rejected, Some(by)) = (outcome, &attempt.by) {
        let words = ["by"].into_iter().chain(by.split_whitespace());
        pieces.extend(words.map(|word| piece(word, paint).after(" ")));
    }
    if *outcome == Outcome::Unsent {
        pieces.push(piece("no SYN", Paint::Plain).after(" "));
        return pieces;
    }
    let waited = words::after_ms(attempt.waited_ms);
    pieces.push(piece(waited, Paint::Plain).after(" "));
    pieces.push(piece(tries(attempt), Paint::Plain));
    if let Some(earlier) = attempt.corrects {
        let text = match earlier == *outcome {
            true => "corrects the verdict".to_owned(),
            false => format!("corrects: {}", earlier.name()),
        };
        pieces.push(piece(text, Paint::Bold));
    }
    pieces
}

fn tries(attempt: &AttemptReport) -> String {
    let number = attempt.syns;
    match (attempt.dns.is_some(), number) {
        (true, 1) => "1 query".to_owned(),
        (true, _) => format!("{number} queries"),
        (false, 1) => "1 SYN".to_owned(),
        (false, _) => format!("{number} SYNs"),
    }
}

#[cfg(test)]
mod tests;
