//! A dropped packet: what, where, by whom.

use super::{
    Style,
    canvas::{Canvas, Paint, details, piece},
    packet,
    units::{INDENT, grouped, time},
    verdict::{draw_verdict, point},
};
use crate::model::{DropReport, Point};

pub(super) fn draw(canvas: &mut Canvas<'_>, style: &Style, drop: &DropReport, told: bool) {
    let DropReport { flow, verdict, .. } = drop;
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
        drop.reason.name(),
        if known { Paint::Plain } else { Paint::Bad },
    ));
    canvas.line(0, INDENT, &pieces);

    canvas.line(INDENT, INDENT, &details(&place(drop)));
    if drop.src_pod.is_some() || drop.dst_pod.is_some() {
        canvas.labelled(INDENT, "addresses", &packet::ends(flow), Paint::Dim);
    }
    packet::draw_owners(
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

/// Where in the kernel it happened; only what is known.
fn place(drop: &DropReport) -> Vec<String> {
    let netns = match (&drop.netns_name, drop.netns) {
        (Some(name), _) => Some(format!("netns {name}")),
        (None, Some(inode)) => Some(format!("netns {inode}")),
        (None, None) => None,
    };
    let parts = [
        drop.hook.map(|hook| format!("hook {hook}")),
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
