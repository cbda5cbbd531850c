//! A packet in words: `tcp SYN`, `udp 1042 B`, `icmp fragmentation needed`.

use std::{fmt::Write as _, net::IpAddr};

use tracer_common::tunnel::Tunnel;

use super::{
    canvas::{Canvas, Paint},
    units::INDENT,
};
use crate::model::{AttemptReport, Flow, Outer, Packet, Pod, Protocol, TcpFlags, address};

/// One end of a flow: the pod's name where it is known, the address otherwise.
pub(super) fn end(pod: Option<&Pod>, ip: IpAddr, port: Option<u16>) -> String {
    match (pod, port) {
        (None, _) => address((ip, port)),
        (Some(pod), None) => format!("{}/{}", pod.namespace, pod.name),
        (Some(pod), Some(port)) => format!("{}/{}:{port}", pod.namespace, pod.name),
    }
}

/// The Service that a client asked, with the port that it used, and the endpoint that it was led to.
/// `None` where it asked no Service.
pub(super) fn service_ends(attempt: &AttemptReport) -> Option<(String, String)> {
    let service = attempt.service.as_ref()?;
    let (_, asked) = attempt
        .original_dst
        .unwrap_or((attempt.flow.dst, attempt.flow.dport));
    let port = asked.map(|port| format!(":{port}")).unwrap_or_default();
    let led = match (backend(attempt), attempt.original_dst) {
        (Some(flow), _) => Some(flow),
        // The first hop that was seen was behind the translation.
        (None, Some(asked)) if asked != (attempt.flow.dst, attempt.flow.dport) => {
            Some(&attempt.flow)
        }
        _ => None,
    };
    let behind = match led {
        Some(flow) => end(attempt.dst_pod.as_ref(), flow.dst, flow.dport),
        None => "no endpoint seen".to_owned(),
    };
    Some((format!("svc/{service}{port}"), behind))
}

/// The flow after NAT, where that led it to another destination.
pub(super) fn backend(attempt: &AttemptReport) -> Option<&Flow> {
    let ends = |flow: &Flow| (flow.dst, flow.dport);
    let translated = attempt.translated.as_ref()?;
    (ends(translated) != ends(&attempt.flow)).then_some(translated)
}

/// Both ends of a flow, as addresses.
pub(super) fn ends(flow: &Flow) -> String {
    format!(
        "{} → {}",
        address(flow.source()),
        address(flow.destination())
    )
}

/// The protocol, and what the packet is within it.
pub(super) fn what(flow: &Flow, packet: Option<&Packet>) -> String {
    let mut text = protocol_name(flow.proto);
    let Some(packet) = packet else { return text };
    if let Some((kind, code)) = packet.icmp {
        text.push(' ');
        text += &icmp(flow.proto == Protocol::Icmpv6, kind, code);
    }
    let mut carries_data = true;
    if let Some(flags) = packet.tcp_flags {
        text.push(' ');
        text += &tcp_flags(flags);
        // The length of a SYN, FIN or RST says nothing, unless data rides on it.
        carries_data = !(flags.syn() || flags.fin() || flags.rst()) || packet.len > 120;
    }
    if carries_data && packet.icmp.is_none() {
        write!(text, " {} B", packet.len).unwrap_or_default();
    }
    if let Some(size) = packet.gso_size {
        write!(text, " in segments of {size}").unwrap_or_default();
    }
    text
}

/// What an outer packet wraps its inner one in.
pub(super) fn tunnel(outer: &Outer) -> String {
    let tunnel = Tunnel::of(outer.proto.number(), outer.dport, outer.dst.is_ipv6());
    let name = tunnel.map_or("a tunnel", Tunnel::name);
    match outer.vni {
        Some(vni) => format!("{name} (VNI {vni})"),
        None => name.to_owned(),
    }
}

fn protocol_name(protocol: Protocol) -> String {
    match protocol {
        Protocol::Other(number) => format!("IP protocol {number}"),
        named => named.to_string(),
    }
}

fn tcp_flags(flags: TcpFlags) -> String {
    let names: Vec<_> = [
        (flags.syn(), "SYN"),
        (flags.fin(), "FIN"),
        (flags.rst(), "RST"),
        (flags.psh(), "PSH"),
        (flags.urg(), "URG"),
        (flags.ack(), "ACK"),
    ]
    .into_iter()
    .filter_map(|(is_set, name)| is_set.then_some(name))
    .collect();
    if names.is_empty() {
        "without flags".to_owned()
    } else {
        names.join("-")
    }
}

/// The kinds that matter when something is lost; others by their numbers.
fn icmp(v6: bool, kind: u8, code: u8) -> String {
    let name = match (v6, kind, code) {
        (false, 0, _) | (true, 129, _) => "echo reply",
        (false, 8, _) | (true, 128, _) => "echo request",
        (false, 3, 0) | (true, 1, 0) => "network unreachable",
        (false, 3, 1) | (true, 1, 3) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => "fragmentation needed",
        (true, 2, _) => "packet too big",
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "prohibited",
        (false, 11, 0) | (true, 3, 0) => "time exceeded",
        (false, 11, 1) | (true, 3, 1) => "reassembly time exceeded",
        (false, 5, _) | (true, 137, _) => "redirect",
        (true, 133, _) => "router solicitation",
        (true, 134, _) => "router advertisement",
        (true, 135, _) => "neighbor solicitation",
        (true, 136, _) => "neighbor advertisement",
        _ => return format!("type {kind} code {code}"),
    };
    name.to_owned()
}

/// The owners of addresses that belong to no pod.
pub(super) fn draw_owners(
    canvas: &mut Canvas<'_>,
    flow: &Flow,
    (src, dst): (Option<&String>, Option<&String>),
) {
    for (ip, owner) in [(flow.src, src), (flow.dst, dst)] {
        if let Some(owner) = owner {
            canvas.labelled(INDENT, &ip.to_string(), owner, Paint::Dim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_names() {
        let names = |text: &str| tcp_flags(text.parse().expect("flags"));
        assert_eq!(names("S"), "SYN");
        assert_eq!(names("SA"), "SYN-ACK");
        assert_eq!(names("PA"), "PSH-ACK");
        assert_eq!(names(""), "without flags");
    }

    #[test]
    fn icmp_kinds_differ_between_the_families() {
        assert_eq!(icmp(false, 3, 4), "fragmentation needed");
        assert_eq!(icmp(true, 2, 0), "packet too big");
        assert_eq!(icmp(true, 3, 4), "type 3 code 4");
    }
}
