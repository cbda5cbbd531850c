//! Records for people: a few lines each, the important ones first.

use std::time::SystemTime;

use jiff::Timestamp;

use super::{
    Style, attempt,
    canvas::{Canvas, Paint, Piece, piece},
    packet, summary,
};
use crate::{
    record::{Confidence, Drop, Flow, Lost, Point, PolicyVerdict, Record, Started, Verdict},
    words,
};

/// How far the lines below a record's first one are indented.
pub(super) const INDENT: usize = 4;

/// Facts shown with each drop. The others are in the JSON.
const EVIDENCE_SHOWN: usize = 2;

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
    pub(super) fn render(&mut self, record: &Record) -> String {
        let mut canvas = Canvas::new(&self.style);
        match record {
            Record::Started(started) => draw_started(&mut canvas, &self.style, started),
            Record::Drop(drop) => {
                let known = self.was_told(&drop.verdict);
                draw_drop(&mut canvas, &self.style, drop, known);
                self.told = Some(drop.verdict.clone());
            }
            Record::Attempt(attempt) => {
                let known = attempt
                    .verdict
                    .as_ref()
                    .is_some_and(|verdict| self.was_told(verdict));
                attempt::draw(&mut canvas, &self.style, attempt, known);
                if attempt.verdict.is_some() {
                    self.told.clone_from(&attempt.verdict);
                }
            }
            Record::Lost(lost) => draw_lost(&mut canvas, &self.style, lost),
            Record::Summary(sums) => summary::draw(&mut canvas, &self.style, sums),
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

fn draw_drop(canvas: &mut Canvas<'_>, style: &Style, drop: &Drop, told: bool) {
    let Drop { flow, verdict, .. } = drop;
    let src = packet::end(drop.src_pod.as_ref(), flow.src, flow.sport);
    let dst = packet::end(drop.dst_pod.as_ref(), flow.dst, flow.dport);
    let mut pieces = vec![
        piece(time(style, drop.ts, "%H:%M:%S%.3f"), Paint::Dim),
        piece(format!("{src} →"), Paint::Plain),
        piece(dst, Paint::Plain).after(" "),
        piece(packet::what(flow, drop.packet.as_ref()), Paint::Plain),
    ];
    if drop.count > 1 {
        pieces.push(piece(format!("×{}", grouped(drop.count)), Paint::Bold));
    }
    let known = verdict.point != Point::Unknown;
    if known {
        pieces.push(point(verdict));
    }
    // Without a verdict, the kernel's reason is the news.
    pieces.push(piece(
        &drop.reason,
        if known { Paint::Plain } else { Paint::Bad },
    ));
    canvas.line(0, INDENT, &pieces);

    canvas.line(INDENT, INDENT, &details(&place(drop)));
    if drop.src_pod.is_some() || drop.dst_pod.is_some() {
        canvas.labelled(INDENT, "addresses", &packet::ends(flow), Paint::Dim);
    }
    draw_owners(
        canvas,
        flow,
        drop.src_owner.as_ref(),
        drop.dst_owner.as_ref(),
    );
    if let Some((ip, port)) = drop.original_dst {
        let before = packet::address(ip, port);
        canvas.labelled(
            INDENT,
            "sent to",
            &format!("{before}, before DNAT"),
            Paint::Dim,
        );
    }
    if let Some(outer) = &drop.outer {
        let text = format!("{} {}", packet::tunnel(outer), packet::ends(outer));
        canvas.labelled(INDENT, "inside", &text, Paint::Dim);
    }
    if let Some(quoted) = &drop.quoted {
        let text = format!("{} {}", packet::what(quoted, None), packet::ends(quoted));
        canvas.labelled(INDENT, "about", &text, Paint::Dim);
    }
    draw_verdict(canvas, verdict, told);
    for (n, frame) in drop.stack.iter().flatten().enumerate() {
        let label = if n == 0 { "stack" } else { "     " };
        canvas.line(
            INDENT,
            INDENT,
            &[piece(format!("{label} {frame}"), Paint::Dim).elidable()],
        );
    }
}

/// Whose the addresses are that are no pod's.
pub(super) fn draw_owners(
    canvas: &mut Canvas<'_>,
    flow: &Flow,
    src: Option<&String>,
    dst: Option<&String>,
) {
    for (ip, owner) in [(flow.src, src), (flow.dst, dst)] {
        if let Some(owner) = owner {
            canvas.labelled(INDENT, &ip.to_string(), owner, Paint::Dim);
        }
    }
}

/// Why, how we know and what to do about it; in short where it was `told` just before.
pub(super) fn draw_verdict(canvas: &mut Canvas<'_>, verdict: &Verdict, told: bool) {
    if told {
        if verdict.point != Point::Unknown {
            canvas.line(INDENT, INDENT, &[piece("why: as above", Paint::Dim)]);
        }
        return;
    }
    let Verdict {
        why,
        evidence,
        fix,
        policy,
        ..
    } = verdict;
    if !why.is_empty() {
        canvas.labelled(INDENT, "why:", why, Paint::Plain);
    }
    // To say that there is one more takes a line too.
    let shown = if evidence.len() == EVIDENCE_SHOWN + 1 {
        evidence.len()
    } else {
        EVIDENCE_SHOWN
    };
    for fact in evidence.iter().take(shown) {
        canvas.labelled(INDENT, "-", fact, Paint::Dim);
    }
    if evidence.len() > shown {
        let more = evidence.len() - shown;
        let text = format!("{more} more facts with -o json");
        canvas.labelled(INDENT, "-", &text, Paint::Dim);
    }
    draw_remedy(canvas, policy.as_ref(), fix);
}

/// What a policy misses, and what to do.
pub(super) fn draw_remedy(canvas: &mut Canvas<'_>, policy: Option<&PolicyVerdict>, fix: &[String]) {
    if let Some(policy) = policy {
        let text = format!(
            "{} isolates {} for {}; missing: {}",
            policy.policies.join(", "),
            policy.pod,
            policy.direction,
            policy.missing
        );
        canvas.labelled(INDENT, "policy:", &text, Paint::Plain);
    }
    for command in fix {
        let (apply, undo) = split_undo(command);
        if is_sentence(apply) {
            canvas.labelled(INDENT, "fix:", apply, Paint::Act);
        } else {
            canvas.verbatim(INDENT, "fix:", apply, Paint::Act);
        }
        if let Some(undo) = undo {
            canvas.verbatim(INDENT, "undo:", &undo, Paint::Dim);
        }
    }
}

/// How fixes begin that are no command: they are read, not copied, and may be wrapped.
const SENTENCES: [&str; 3] = ["beyond this node", "change the ", "on both nodes: "];

fn is_sentence(fix: &str) -> bool {
    SENTENCES.iter().any(|start| fix.starts_with(start))
}

/// What to do, and what takes it back in the same namespace: to be copied one by one.
fn split_undo(fix: &str) -> (&str, Option<String>) {
    let parts = fix
        .strip_suffix(')')
        .and_then(|fix| fix.split_once(" (undo: "));
    let Some((apply, undo)) = parts else {
        return (fix, None);
    };
    let place = apply
        .starts_with("in netns ")
        .then(|| apply.split_once(": "))
        .flatten();
    let undo = match place {
        Some((place, _)) => format!("{place}: {undo}"),
        None => undo.to_owned(),
    };
    (apply, Some(undo))
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

/// The dropping point, and how sure it is, in words.
pub(super) fn blame(verdict: &Verdict) -> String {
    format!("{} ({})", verdict.point.name(), verdict.confidence.name())
}

/// How loud a verdict is.
pub(super) fn alarm(confidence: Confidence) -> Paint {
    match confidence {
        Confidence::Confirmed => Paint::Bad,
        Confidence::Likely | Confidence::Possible => Paint::Warn,
    }
}

/// The dropping point, and how sure it is.
pub(super) fn point(verdict: &Verdict) -> Piece {
    piece(blame(verdict), alarm(verdict.confidence))
}

/// Where in the kernel it happened; only what is known.
fn place(drop: &Drop) -> Vec<String> {
    let netns = match (&drop.netns_name, drop.netns) {
        (Some(name), _) => Some(format!("netns {name}")),
        (None, Some(inode)) => Some(format!("netns {inode}")),
        (None, None) => None,
    };
    let parts = [
        drop.hook.as_ref().map(|hook| format!("hook {hook}")),
        drop.function.clone(),
        drop.ifname.as_ref().map(|name| format!("dev {name}")),
        netns,
    ];
    let known: Vec<_> = parts.into_iter().flatten().collect();
    if known.is_empty() {
        vec!["place unknown".to_owned()]
    } else {
        known
    }
}

/// Facts of less weight, with dots between them.
fn details(facts: &[String]) -> Vec<Piece> {
    facts
        .iter()
        .map(|fact| piece(fact, Paint::Dim).after(" · ").elidable())
        .collect()
}

/// A time in the zone of the style, for `strftime`.
pub(super) fn time(style: &Style, time: SystemTime, format: &str) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time
            .to_zoned(style.zone.clone())
            .strftime(format)
            .to_string(),
        Err(_) => "(no time)".to_owned(),
    }
}

/// A number that can be read at a glance.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
