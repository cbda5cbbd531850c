//! How far an attempt came: one row for each place that saw it, there and back, and a row for the
//! gap.
//!
//! The gap is what the hops alone show. Who is to blame for it is the verdict's business.

use super::{
    canvas::{Canvas, Paint, Piece, piece},
    packet,
    units::INDENT,
};
use crate::model::{AttemptReport, Direction, Flow, Hop, Outcome, ReplyKind, address};

/// A row that breaks goes on below its interface, behind the mark and the direction.
pub(super) const HANG: usize = INDENT + 7;

/// Columns wider than this do not line up: a name can be as long as a file's.
const WIDEST: usize = 20;

/// Draws the ladder.
pub(super) fn draw(canvas: &mut Canvas<'_>, attempt: &AttemptReport) {
    let AttemptReport {
        hops, reply_hops, ..
    } = attempt;
    // Where small packets pass and large ones do not, the sizes tell.
    let has_mtu = attempt.outcome == Outcome::Stalled;
    let table = Table::new(&hops.iter().chain(reply_hops), has_mtu);
    for hop in hops {
        canvas.line(INDENT, HANG, &table.row(hop));
    }
    if !reply_hops.is_empty() {
        canvas.labelled(INDENT, "←", reply(attempt), Paint::Bold);
        for hop in reply_hops {
            canvas.line(INDENT, HANG, &table.row(hop));
        }
    }
    if let Some(gap) = gap(attempt) {
        canvas.labelled(INDENT, "✗", &gap, Paint::Bad);
    }
}

/// The widths of the columns, the same for both ways.
pub(super) struct Table {
    ifname: usize,
    netns: usize,
    at: usize,
    mtu: bool,
}

impl Table {
    pub(super) fn new<'a>(hops: &(impl Iterator<Item = &'a Hop> + Clone), has_mtu: bool) -> Self {
        let widest = |text: fn(&Hop) -> String| {
            hops.clone()
                .map(|hop| piece(text(hop), Paint::Plain).columns())
                .max()
                .unwrap_or_default()
                .min(WIDEST)
        };
        Self {
            ifname: widest(|hop| hop.ifname.clone()),
            netns: widest(netns),
            at: widest(at),
            mtu: has_mtu,
        }
    }

    pub(super) fn row(&self, hop: &Hop) -> Vec<Piece> {
        let dir = match hop.dir {
            Direction::In => "in ",
            Direction::Out => "out",
        };
        let at = format!("{:>1$}", at(hop), self.at);
        let mut pieces = vec![
            piece("✓", Paint::Good),
            piece(dir, Paint::Plain).after(" "),
            piece(&hop.ifname, Paint::Plain).padded(self.ifname),
            piece(netns(hop), Paint::Dim).padded(self.netns).elidable(),
            piece(at, Paint::Plain),
        ];
        if hop.times > 1 {
            pieces.push(piece(format!("×{}", hop.times), Paint::Bold));
        }
        if self.mtu {
            pieces.push(piece(format!("mtu {}", hop.mtu), Paint::Plain));
        }
        if let Some(flow) = &hop.flow {
            pieces.extend(ends("as", flow));
        }
        if let Some(outer) = &hop.outer {
            let label = format!("inside {}", packet::tunnel(outer));
            pieces.extend(ends(&label, outer));
        }
        pieces
    }
}

/// The ends of a flow, to be broken where they do not fit.
fn ends(label: &str, flow: &Flow) -> [Piece; 3] {
    let src = format!("{} →", address(flow.source()));
    let dst = address(flow.destination());
    [
        piece(label, Paint::Dim),
        piece(src, Paint::Dim).after(" "),
        piece(dst, Paint::Dim).after(" "),
    ]
}

fn netns(hop: &Hop) -> String {
    match hop.pod.as_ref().or(hop.netns_name.as_ref()) {
        Some(name) => name.clone(),
        None => hop.netns.to_string(),
    }
}

/// When, since the first packet.
fn at(hop: &Hop) -> String {
    format!("+{}.{:03} ms", hop.at_us / 1000, hop.at_us % 1000)
}

/// What came back.
fn reply(attempt: &AttemptReport) -> &'static str {
    let is_icmp = |hop: &Hop| {
        let flow = hop.flow.as_ref();
        flow.is_some_and(|flow| flow.proto.is_icmp())
    };
    match (attempt.outcome, attempt.reply) {
        (Outcome::Refused, _) => "RST",
        (Outcome::Rejected, _) => "ICMP error",
        (_, Some(ReplyKind::Reset)) => "RST",
        (_, Some(ReplyKind::Error)) => "ICMP error",
        // Older records do not say it.
        _ if attempt.reply_hops.iter().any(is_icmp) => "ICMP error",
        _ if attempt.dns.is_some() => "answer",
        _ => "SYN-ACK",
    }
}

/// Where the trail ends too early; `None` where it leads all the way.
fn gap(attempt: &AttemptReport) -> Option<String> {
    match attempt.outcome {
        Outcome::Answered | Outcome::Refused | Outcome::Rejected | Outcome::Unsent => None,
        Outcome::Stalled => Some("data does not get through".to_owned()),
        Outcome::Unanswered => Some(match attempt.reply_hops.last() {
            Some(last) => gap_back(attempt, last),
            None => gap_there(attempt),
        }),
    }
}

fn gap_there(attempt: &AttemptReport) -> String {
    let Some(last) = attempt.hops.last() else {
        return "seen at no interface".to_owned();
    };
    let place = place(attempt, last);
    match last.dir {
        Direction::In => format!("not seen beyond {place}"),
        Direction::Out => format!("left through {place}, and nothing came back"),
    }
}

fn gap_back(attempt: &AttemptReport, last: &Hop) -> String {
    let what = reply(attempt);
    let seen = place(attempt, last);
    match next_on_the_way_back(attempt) {
        None => format!("the {what} was not seen beyond {seen}"),
        Some(next) => {
            let missing = place(attempt, next);
            format!("the {what} was seen at {seen} and not at {missing}")
        }
    }
}

/// The interface, and its namespace where the ladder has several interfaces of that name.
fn place(attempt: &AttemptReport, hop: &Hop) -> String {
    let mut hops = attempt.hops.iter().chain(&attempt.reply_hops);
    if hops.any(|other| other.ifname == hop.ifname && other.netns != hop.netns) {
        format!("{} of {}", hop.ifname, netns(hop))
    } else {
        hop.ifname.clone()
    }
}

/// The hop that the reply had to pass next: the way back mirrors the way there.
fn next_on_the_way_back(attempt: &AttemptReport) -> Option<&Hop> {
    let AttemptReport {
        hops, reply_hops, ..
    } = attempt;
    let passed = |hop: &Hop| reply_hops.iter().any(|reply| mirrors(hop, reply));
    match hops.iter().position(passed) {
        Some(nearest) => hops.get(nearest.checked_sub(1)?),
        // It came another way: only the client's end is common to both.
        None => hops.first(),
    }
}

fn mirrors(hop: &Hop, reply: &Hop) -> bool {
    hop.ifname == reply.ifname && hop.netns == reply.netns && hop.dir != reply.dir
}
