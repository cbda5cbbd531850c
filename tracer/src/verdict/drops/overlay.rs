//! The encapsulation, or the path between nodes under it.

use tracer_common::tunnel::Tunnel;

use super::{
    Concern, Finding, bridge_port::is_of_bridge, function, is_netfilter, is_tunnelled, other_host,
    path, place, takers,
};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Site,
        shell::Command,
    },
    net::Link,
    node::{facts::NodeFacts, overlay::Missing},
};

/// A rule drops the overlay's own packets.
pub(super) fn is_filtered(facts: &DropFacts) -> Concern {
    Concern::surely(is_netfilter(facts) && is_tunnelled(facts))
}

pub(super) fn filtered(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let hook = facts.hook.map(|hook| format!(" in {hook}"));
    let hook = hook.unwrap_or_default();
    let what = format!("drops the overlay's own packets{hook}");
    let certain = node.suspects.as_ref().filter(|suspects| suspects.certain);
    let mut finding = match certain.map(|suspects| suspects.rules.as_slice()) {
        Some([rule]) => {
            let mut why = format!("{} {what}", rule.place());
            if let Some(text) = rule.quoted() {
                why += &format!(": {text}");
            }
            Finding::new(Point::Overlay, Confirmed, why).about(&[&rule.describe()])
        }
        _ => {
            let why = format!("a netfilter rule {what}");
            let mut finding = Finding::new(Point::Overlay, Confirmed, why).about(&[&hook]);
            let suspects = node.suspects.iter().flat_map(|suspects| &suspects.rules);
            for rule in suspects.take(2) {
                finding.fact(format!("it may have been {}", rule.describe()));
            }
            finding
        }
    };
    finding.evidence.extend(evidence(facts, node));
    if let Some(stranger) = stranger(facts, node) {
        let refusal =
            "no rule is suggested: it would admit anyone who can send such packets to the tunnel";
        finding.evidence.insert(0, refusal.to_owned());
        finding.evidence.insert(0, stranger);
        finding.confidence = Likely;
        return Some(finding);
    }
    finding.fix.extend(node.mending.fixes.clone());
    finding.evidence.extend(node.mending.remarks.clone());
    Some(finding)
}

/// That nothing shows the tunnel's packet to come from a VTEP: anyone may have written it. `None` for
/// one that does come from a known VTEP.
pub(super) fn stranger(facts: &DropFacts, node: &NodeFacts) -> Option<String> {
    let src = facts.outer.as_ref()?.src;
    if facts.is_from_node {
        return None;
    }
    match node.around.knows_vtep {
        Some(true) => None,
        Some(false) => Some(format!(
            "no tunnel of this namespace leads to {src}, which sent it{}",
            holder(facts, node).unwrap_or_default()
        )),
        None => Some(format!(
            "it is from {src}; the tunnels of this namespace do not show whether that is a tunnel \
             endpoint"
        )),
    }
}

/// The other namespace that has the address which the tunnel's packet is from: a node of a lab, or a pod
/// that can send such packets, too.
fn holder(facts: &DropFacts, node: &NodeFacts) -> Option<String> {
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    let src = facts.outer.as_ref()?.src;
    let holder = world.holders_near(netns, src).into_iter().next()?;
    let at = world.holder_in_words(&holder, netns);
    Some(format!("; it is an address of {at}"))
}

/// Whether the packet was in a tunnel that nothing here knows the sender of.
pub(crate) fn is_from_stranger(facts: &DropFacts, node: &NodeFacts) -> bool {
    let is_unknown = node.around.knows_vtep == Some(false);
    facts.outer.is_some() && !facts.is_from_node && is_unknown
}

fn is_in_tunnel_code(facts: &DropFacts) -> bool {
    Tunnel::has_function(function(facts))
}

pub(super) fn is_overlays(facts: &DropFacts) -> Concern {
    let by_itself = match facts.reason.name() {
        "VXLAN_VNI_NOT_FOUND" | "VXLAN_NO_REMOTE" => true,
        // A bridge gives this reason, too: it is not about a VTEP then.
        "NO_TX_TARGET" => !is_of_bridge(facts),
        "TUNNEL_TXINFO" | "VXLAN_INVALID_HDR" | "LOCAL_MAC" | "MAC_INVALID_SOURCE"
        | "NO_SOCKET" | "IP_NOPROTO" | "IP_OUTNOROUTES" | "IP_INNOROUTES" => is_tunnelled(facts),
        _ => lacks_neighbor(facts) && is_tunnelled(facts),
    };
    if by_itself || is_in_tunnel_code(facts) {
        return Concern::Surely;
    }
    // At a tunnel device.
    Concern::maybe(facts.reason.is("OTHERHOST") || lacks_neighbor(facts))
}

pub(super) fn overlay(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let reason = facts.reason.name();
    let lacks_neighbor = lacks_neighbor(facts);
    let at_tunnel = at_tunnel(facts, node);
    let (kind, why) = match (reason, at_tunnel) {
        ("VXLAN_VNI_NOT_FOUND", _) => (
            "VNI",
            "no VXLAN device here has the packet's VNI".to_owned(),
        ),
        ("NO_TX_TARGET" | "VXLAN_NO_REMOTE", _) => ("VTEP", no_vtep(facts)),
        ("TUNNEL_TXINFO" | "VXLAN_INVALID_HDR" | "LOCAL_MAC" | "MAC_INVALID_SOURCE", _) => {
            (reason, format!("the tunnel refuses the packet ({reason})"))
        }
        ("NO_SOCKET", _) if is_tunnelled(facts) => (
            "socket",
            "no tunnel device listens for the encapsulated packet here".to_owned(),
        ),
        // Of IP in IP and GRE, which have no port.
        ("IP_NOPROTO", _) if is_tunnelled(facts) => ("protocol", takers::NONE.to_owned()),
        _ if takers::is_refused(facts, node) => ("protocol", takers::NONE.to_owned()),
        _ if lacks_neighbor && is_tunnelled(facts) => (
            "next hop",
            format!(
                "the next hop to the remote {} does not answer",
                endpoint(facts)
            ),
        ),
        ("IP_OUTNOROUTES" | "IP_INNOROUTES", _) => ("route", NO_ROUTE.to_owned()),
        ("OTHERHOST", Some(device)) => ("MAC address", other_mac(facts, device)),
        (_, Some(device)) if lacks_neighbor => (
            "neighbor",
            format!(
                "the tunnel device {} does not know the MAC address of the next hop",
                device.name
            ),
        ),
        _ if is_in_tunnel_code(facts) => takers::unsent_by_wireguard(facts, node)
            .or_else(|| without_reason(facts, node))
            .unwrap_or_else(|| (reason, format!("the tunnel code dropped it ({reason})"))),
        _ => return None,
    };
    let mut finding = Finding::new(Point::Overlay, Confirmed, why).about(&[&kind, &place(facts)]);
    finding.evidence = evidence(facts, node);
    if let Some(stranger) = stranger(facts, node) {
        finding.evidence.insert(0, stranger);
        finding.confidence = Likely;
    }
    if without_reason(facts, node).is_some() {
        finding.evidence.insert(
            0,
            "this kernel gives no reason here; the cause is what the node lacks now".to_owned(),
        );
    }
    if reason == "NO_SOCKET" || reason == "IP_NOPROTO" || takers::is_refused(facts, node) {
        takers::explain(&mut finding, facts, node);
    }
    if reason == "OTHERHOST" {
        finding.fix.push(
            Fix::advice(
                "restart the CNI's agent (flanneld) on this node, so that it announces the MAC \
                 address that the device has now; keep systemd from changing it \
                 (MACAddressPolicy=none in a .link file for the device)",
            )
            .at(Site::Host),
        );
    }
    if reason == "VXLAN_VNI_NOT_FOUND" {
        // A device keeps its VNI, and which of the two is right, only the CNI's configuration says.
        finding.fix.push(
            Fix::advice(
                "compare `ip -d link show type vxlan`; give them one VNI in the CNI's \
                 configuration, then delete the wrong device and restart the CNI's agent, which \
                 creates it again",
            )
            .at(Site::BothNodes),
        );
    }
    Some(finding)
}

/// The tunnel's FDB sends the packet to an address of this node itself, again and again.
pub(super) fn leads_back(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let overlay = node.around.overlay.as_ref()?;
    // Otherwise, these are all entries of the device, and not those of this packet.
    overlay.next_mac()?;
    let (netns, world) = facts.netns.zip(node.world.as_deref())?;
    let is_own = |vtep| world.is_local(netns, vtep) == Some(true);
    let own = overlay
        .fdb
        .iter()
        .find(|entry| entry.remote.is_some_and(is_own))?;
    let (device, vtep) = (&overlay.device.name, own.remote?);
    let why = format!(
        "the FDB of {device} sends what is for MAC address {} to {vtep}, an address of this node \
         itself: the tunnel ends where it begins",
        own.mac
    );
    let mut finding = Finding::new(Point::Overlay, Confirmed, why).about(&[device, &vtep]);
    finding.fact("it went around until its TTL was used up");
    finding.evidence.extend(evidence(facts, node));
    finding.fix.push(
        Fix::advice(
            "let each node announce an address that only it has (flanneld --iface=…, or \
             --public-ip=…), and restart the CNI's agent",
        )
        .at(Site::BothNodes),
    );
    Some(finding)
}

/// The other node knows this one's tunnel device by a MAC address that it does not have.
fn other_mac(facts: &DropFacts, device: &Link) -> String {
    let (mac, own) = (other_host::destination_mac(facts), device.mac.as_ref());
    let macs = match (mac, own) {
        (Some(mac), Some(own)) => format!("for {mac}, and {} has {own}", device.name),
        _ => "for another MAC address".to_owned(),
    };
    format!(
        "the packet came out of the tunnel{} {macs}: the sender's neighbor or FDB entry for this \
         VTEP is stale",
        place(facts)
    )
}

/// A tunnel device that is down may have taken the routes by it with it.
pub(super) fn lacks_route(facts: &DropFacts) -> Concern {
    Concern::maybe(facts.reason.is("IP_INNOROUTES"))
}

/// The tunnel device is down, and the routes by it went with it: if the destination could have been
/// behind it.
pub(super) fn tunnel_down(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let mut tunnels = node.around.down.iter();
    let device = tunnels.find(|tunnel| tunnel.refuted.is_none())?;
    let dst = facts.flow.dst;
    let why = format!(
        "no route to {dst}, and the tunnel device {} is down: its routes went with it",
        device.name
    );
    let mut finding = Finding::new(Point::Overlay, Likely, why).about(&[&dst, &device.name]);
    let route = node.around.route.iter();
    finding
        .evidence
        .extend(route.map(|route| format!("the kernel says now: {route}")));
    let set = |state: &str| Command::new("ip link set dev").arg(&device.name).arg(state);
    finding
        .fix
        .push(Fix::change(set("up"), set("down")).noting("then have the CNI set its routes again"));
    Some(finding)
}

/// Tunnel devices that are down and that the destination is not behind, a sentence each.
pub(super) fn idle_tunnels(facts: &DropFacts, node: &NodeFacts) -> Vec<String> {
    let idle = node.around.down.iter().filter_map(|tunnel| {
        let because = tunnel.refuted.as_ref()?;
        Some(format!(
            "the tunnel device {} is down, but nothing shows {} to be behind it: {because}",
            tunnel.name, facts.flow.dst
        ))
    });
    idle.collect()
}

pub(super) fn tunnels_are_up(facts: &DropFacts, node: &NodeFacts) -> Option<String> {
    if let Some(idle) = idle_tunnels(facts, node).into_iter().next() {
        return Some(idle);
    }
    let names: Vec<_> = node
        .around
        .tunnels
        .iter()
        .map(|tunnel| tunnel.name.as_str())
        .collect();
    match names.as_slice() {
        [] => None,
        [only] => Some(format!("the tunnel device {only} is up")),
        several => Some(format!("the tunnel devices {} are up", several.join(", "))),
    }
}

const NO_ROUTE: &str = "there is no route to the remote VTEP";

fn no_vtep(facts: &DropFacts) -> String {
    format!(
        "the tunnel device {} knows no VTEP for the packet's MAC address",
        facts.ifname.as_deref().unwrap_or_default()
    )
}

/// Why the tunnel's sending side drops what an older kernel gives no reason for: what it would need
/// is not there. `None` if there was a reason, or nothing is known to be missing.
fn without_reason(facts: &DropFacts, node: &NodeFacts) -> Option<(&'static str, String)> {
    let sends = function(facts).contains("_xmit");
    if !sends || facts.reason.is_specified() {
        return None;
    }
    match node.around.overlay.as_ref()?.missing()? {
        Missing::FdbEntry(_) => Some(("VTEP", no_vtep(facts))),
        Missing::Route(..) => Some(("route", NO_ROUTE.to_owned())),
        Missing::DeviceDown | Missing::Neighbor(..) | Missing::Answer(..) => None,
    }
}

/// The tunnel device that it was dropped at.
pub(super) fn at_tunnel<'a>(facts: &DropFacts, node: &'a NodeFacts) -> Option<&'a Link> {
    let at = facts.ifname.as_deref()?;
    let mut tunnels = node.around.tunnels.iter();
    tunnels.find(|tunnel| tunnel.name == at)
}

/// Older kernels give no reason, nor do newer ones for IPv6.
fn lacks_neighbor(facts: &DropFacts) -> bool {
    path::lacks_neighbor(facts) != Concern::No
}

/// What the end of the tunnel is called.
fn endpoint(facts: &DropFacts) -> &'static str {
    let tunnel = facts
        .outer
        .and_then(|outer| Tunnel::of(outer.proto.number(), outer.dport, outer.dst.is_ipv6()));
    match tunnel {
        Some(Tunnel::Vxlan) | None => "VTEP",
        Some(_) => "tunnel endpoint",
    }
}

/// What the node says of the tunnel: the device, the VTEP, and what is missing on the way there.
fn evidence(facts: &DropFacts, node: &NodeFacts) -> Vec<String> {
    let mut evidence = Vec::new();
    let around = &node.around;
    if let Some(overlay) = &around.overlay {
        evidence.extend(overlay.missing().map(|missing| format!("{missing}")));
        let vni = overlay.device.vxlan().map(|vxlan| vxlan.vni);
        evidence.push(match vni {
            Some(vni) => format!("the tunnel device is {}, VNI {vni}", overlay.device.name),
            None => format!("the tunnel device is {}", overlay.device.name),
        });
    }
    if let Some(remote) = &around.remote {
        evidence.push(format!(
            "the route to the {} {}: {}",
            endpoint(facts),
            remote.vtep,
            remote.route
        ));
        let entries = remote.neighbors.iter();
        evidence.extend(entries.map(|entry| format!("the neighbor entry: {entry}")));
    }
    if facts.reason.is("VXLAN_VNI_NOT_FOUND") {
        let known: Vec<_> = around
            .tunnels
            .iter()
            .filter_map(|tunnel| Some(format!("{} on {}", tunnel.vxlan()?.vni, tunnel.name)))
            .collect();
        evidence.push(match known.as_slice() {
            [] => "this namespace has no VXLAN device".to_owned(),
            known => format!("the VNIs here are {}", known.join(", ")),
        });
    }
    evidence
}
