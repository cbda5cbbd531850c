//! A dropped packet: who dropped it, which packet it was, why, and where in the kernel.

use super::{
    Page,
    canvas::{Paint, details, piece},
    packet,
    units::{INDENT, grouped},
    verdict::{draw_verdict, point},
};
use crate::model::{DropReport, Point, address};

pub(super) fn draw(page: &mut Page<'_>, drop: &DropReport) {
    headline(page, drop);
    if drop.src_pod.is_some() || drop.dst_pod.is_some() {
        page.canvas
            .labelled(INDENT, "addresses", &packet::ends(&drop.flow), Paint::Dim);
    }
    page.manifests.flow = format!(
        "{} → {}",
        packet::end(drop.src_pod.as_ref(), drop.flow.src, None),
        packet::end(drop.dst_pod.as_ref(), drop.flow.dst, drop.flow.dport)
    );
    draw_verdict(page, &drop.verdict);
    if page.verbose {
        let owners = (drop.src_owner.as_ref(), drop.dst_owner.as_ref());
        packet::draw_owners(&mut page.canvas, &drop.flow, owners);
    }
    draw_way(page, drop);
    page.canvas.line(INDENT, INDENT, &details(&place(drop)));
    for (n, frame) in drop.stack.iter().flatten().enumerate() {
        let label = if n == 0 { "stack" } else { "     " };
        let line = piece(format!("{label} {frame}"), Paint::Dim).elidable();
        page.canvas.line(INDENT, INDENT, &[line]);
    }
}

/// The verdict in one word, and the packet.
fn headline(page: &mut Page<'_>, drop: &DropReport) {
    let DropReport { flow, verdict, .. } = drop;
    let src = packet::end(drop.src_pod.as_ref(), flow.src, flow.sport);
    let dst = packet::end(drop.dst_pod.as_ref(), flow.dst, flow.dport);
    // Without a verdict, the kernel's reason is the news.
    let news = match verdict.point {
        Point::Unknown => piece(drop.reason.name(), Paint::Bad),
        _ => point(verdict),
    };
    let mut pieces = vec![
        piece(page.clock(drop.ts), Paint::Dim),
        news,
        piece(format!("{src} →"), Paint::Plain),
        piece(dst, Paint::Plain).after(" "),
        piece(packet::what(flow, drop.packet.as_ref()), Paint::Plain),
    ];
    if drop.count > 1 {
        pieces.push(piece(format!("×{}", grouped(drop.count)), Paint::Bold));
    }
    if drop.corrects.is_some() {
        pieces.push(piece("corrects the verdict", Paint::Bold));
    }
    page.canvas.line(0, INDENT, &pieces);
}

/// What the packet was before NAT, inside which tunnel, and about which connection.
fn draw_way(page: &mut Page<'_>, drop: &DropReport) {
    if let Some(original) = drop.original_dst {
        let text = format!("{}, before DNAT", address(original));
        page.canvas.labelled(INDENT, "sent to", &text, Paint::Dim);
    }
    if let Some(outer) = &drop.outer {
        let text = format!("{} {}", packet::tunnel(outer), packet::ends(outer));
        page.canvas.labelled(INDENT, "inside", &text, Paint::Dim);
    }
    if let Some(quoted) = &drop.quoted {
        let text = format!("{} {}", packet::what(quoted, None), packet::ends(quoted));
        page.canvas.labelled(INDENT, "about", &text, Paint::Dim);
    }
}

/// Where in the kernel it happened; only what is known.
fn place(drop: &DropReport) -> Vec<String> {
    let netns = match (&drop.netns_name, drop.netns) {
        (Some(name), _) => Some(format!("netns {name}")),
        (None, Some(inode)) => Some(format!("netns {inode}")),
        (None, None) => None,
    };
    let reason = (drop.verdict.point != Point::Unknown).then(|| drop.reason.to_string());
    let parts = [
        reason,
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
