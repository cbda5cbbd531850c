//! A packet larger than a hop takes.

use std::net::IpAddr;

use super::{
    Concern, Finding, function, place,
    veth::{Pair, narrow_peer, without_world},
};
use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Protocol,
    },
    net::Link,
    node::{
        change,
        facts::NodeFacts,
        mtu::{Advice, Hop, advise, least, narrowest, ping},
    },
};

/// What a message says that would make the sender use smaller packets.
fn too_big(facts: &DropFacts) -> Option<&'static str> {
    match (facts.flow.proto, facts.packet?.icmp?) {
        (Protocol::Icmp, (3, 4)) => Some("\"fragmentation needed\""),
        (Protocol::Icmpv6, (2, _)) => Some("\"packet too big\""),
        _ => None,
    }
}

/// Whether it is such an error. It may be forged.
pub(in crate::verdict) fn says_too_big(facts: &DropFacts) -> bool {
    facts.quoted.is_some() && too_big(facts).is_some()
}

/// Reasons for which the kernel refuses a message that is broken itself.
const MALFORMED: [&str; 6] = [
    "IP_CSUM",
    "ICMP_CSUM",
    "IP_INHDR",
    "PKT_TOO_SMALL",
    "HDR_TRUNC",
    "INVALID_PROTO",
];

/// A message about a packet that was sent, or one that this namespace sends itself. Anyone can write
/// one about another.
pub(super) fn is_too_big_message(facts: &DropFacts) -> Concern {
    let is_whole = !MALFORMED.contains(&facts.reason.name());
    let is_genuine = facts.quotes_seen || facts.iif == 0;
    Concern::surely(says_too_big(facts) && is_genuine && is_whole)
}

/// What a message says that is about nothing that was seen.
pub(in crate::verdict) fn unrelated_message(facts: &DropFacts) -> Option<String> {
    let quoted = facts
        .quoted
        .filter(|_| !facts.quotes_seen && facts.iif != 0)?;
    let too_big = too_big(facts)?;
    Some(format!(
        "it is the ICMP message {too_big} about a packet from {} to {}, of which nothing was seen here",
        quoted.src, quoted.dst
    ))
}

/// The message that would make the sender use smaller packets was itself dropped.
pub(super) fn too_big_message_lost(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let too_big = too_big(facts)?;
    let sender = facts.quoted?.src;
    let why = format!(
        "the ICMP message {too_big} for {sender} was dropped{}: the sender does not learn to send \
         smaller packets",
        place(facts)
    );
    // What this namespace sends itself has met the hop that takes less.
    let confidence = if facts.iif == 0 { Confirmed } else { Likely };
    let mut finding = Finding::new(Point::Mtu, confidence, why).about(&[&sender, &place(facts)]);
    let was = match node.suspects.as_ref().is_some_and(|all| all.certain) {
        true => "it was dropped by",
        false => "it may have been",
    };
    let suspects = node.suspects.iter().flat_map(|suspects| &suspects.rules);
    let named = suspects.take(2);
    finding
        .evidence
        .extend(named.map(|rule| format!("{was} {}", rule.describe())));
    finding.fix.extend(node.mending.fixes.clone());
    finding.evidence.extend(node.mending.remarks.clone());
    Some(finding)
}

/// The bytes that a veth lets pass above its MTU (`VLAN_HLEN`).
const VLAN_TAG: u32 = 4;

/// Functions that drop for size only, and give no reason on some kernels.
const SIZE_ONLY: [&str; 7] = [
    "__dev_forward_skb2",
    "__dev_forward_skb",
    "br_dev_queue_push_xmit",
    "br_nf_dev_queue_xmit",
    "ip_fragment",
    "ip_do_fragment",
    "ip6_fragment",
];

/// Functions of tunnels that drop for size among other things, and give no reason. The packet is not
/// encapsulated yet.
const TUNNELS: [&str; 6] = [
    "ip_tunnel_xmit",
    "ip_md_tunnel_xmit",
    "ipip6_tunnel_xmit",
    "sit_tunnel_xmit",
    "ip6_tnl_start_xmit",
    "ip6gre_tunnel_xmit",
];

/// Whether a tunnel may have dropped it for its size: it is whole, and must not be fragmented.
fn may_exceed_tunnel(facts: &DropFacts) -> bool {
    let is_gso = facts.packet.is_some_and(|packet| packet.gso_size.is_some());
    let bytes = facts.wire.as_ref().map(|wire| wire.bytes.as_slice());
    let must_stay_whole = match bytes {
        // The flag DF.
        Some([0x40..0x50, _, _, _, _, _, flags, ..]) => flags & 0x40 != 0,
        Some([0x60..0x70, ..]) => true,
        _ => false,
    };
    let is_tunnels = !facts.reason.is_specified() && TUNNELS.contains(&function(facts));
    is_tunnels && !is_gso && must_stay_whole && facts.outer.is_none()
}

fn is_said(facts: &DropFacts) -> bool {
    facts.reason.is("PKT_TOO_BIG")
}

pub(in crate::verdict) fn is_too_large(facts: &DropFacts) -> Concern {
    let unsaid = !facts.reason.is_specified() && SIZE_ONLY.contains(&function(facts));
    let is_known = facts.packet.is_some() && facts.mtu.is_some();
    match is_known && (is_said(facts) || unsaid) {
        true => Concern::Surely,
        false => Concern::maybe(is_known && may_exceed_tunnel(facts)),
    }
}

pub(super) fn mtu(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let packet = facts.packet.as_ref()?;
    // Of a GSO packet, each segment is what has to pass.
    let payload = facts.tcp.map_or(0, |tcp| tcp.payload);
    let segment = packet.gso_size;
    let len = match segment.filter(|segment| *segment < payload) {
        Some(segment) => packet.len.saturating_sub(payload) + segment,
        None => packet.len,
    };
    let mtu = facts.mtu?;
    let narrow = advice(facts, node).map(|(hop, _)| hop);
    let in_tunnel = may_exceed_tunnel(facts);
    // Below the tunnel, there must be too little room for it.
    (!in_tunnel || narrow.is_some_and(|hop| hop.overhead > 0)).then_some(())?;
    let peer = narrow_peer(facts, node);
    let is_seen = is_said(facts) || len > mtu || peer.is_some() || in_tunnel;
    let mut finding = Finding::new(
        Point::Mtu,
        if is_seen { Confirmed } else { Likely },
        match narrow {
            Some(hop) if hop.overhead > 0 && len <= hop.mtu => format!(
                "a packet of {len} bytes does not fit into {}, whose MTU is {}, with the {} bytes \
                 that the tunnel adds",
                hop.ifname, hop.mtu, hop.overhead
            ),
            Some(hop) => format!(
                "a packet of {len} bytes does not fit into {}, whose MTU is {}",
                hop.ifname, hop.mtu
            ),
            None => format!(
                "a packet of {len} bytes is larger than the next hop takes{}",
                place(facts)
            ),
        },
    )
    .about(&[&place(facts)]);
    finding.evidence.push(format!(
        "{len} bytes from the network header up; MTU of {} is {mtu}",
        facts.ifname.as_deref().unwrap_or("the interface")
    ));
    if let Some(segment) = packet.gso_size {
        finding.evidence.push(format!(
            "a GSO packet with segments of {segment} bytes of payload"
        ));
    }
    if let Some((link, peer)) = peer {
        finding.evidence.push(format!(
            "the other end of {}, {}, takes {} bytes only, and up to {VLAN_TAG} more for a VLAN tag",
            link.name, peer.name, peer.mtu
        ));
        let ping = ping(facts.flow.dst, peer.mtu);
        let ping = ping.map(|ping| format!("this proves it: {ping}"));
        finding.evidence.extend(ping);
        let least = least(facts.flow.dst);
        match Pair::at(facts, node, &link.name) {
            Some(pair) => {
                finding.evidence.push(pair.in_words());
                finding.fix.extend(pair.set(pair.agreed(least)));
            }
            None => finding.fix.push(without_world(link, peer, least)),
        }
        return Some(finding);
    }
    if let Some((hop, advice)) = advice(facts, node) {
        finding.evidence.push(if hop.overhead == 0 {
            format!(
                "the narrowest hop here is {}, with an MTU of {}",
                hop.ifname, hop.mtu
            )
        } else {
            format!(
                "the narrowest hop here is {}, with an MTU of {}, of which the tunnel takes {}",
                hop.ifname, hop.mtu, hop.overhead
            )
        });
        if let Some(ping) = advice.ping {
            finding.evidence.push(format!("this proves it: {ping}"));
        }
        match advice.change {
            Some(change) => finding.fix.push(change),
            None => finding.fix.extend(widen(hop, facts, node, len)),
        }
    }
    Some(finding)
}

/// A narrow hop made as wide as the others here, if that is wide enough: its link may take more than
/// it is set to. Of a veth pair, both ends.
fn widen(hop: &Hop, facts: &DropFacts, node: &NodeFacts, len: u32) -> Vec<Fix> {
    if node
        .around
        .tunnel
        .as_ref()
        .is_some_and(|tunnel| tunnel.name == hop.ifname)
    {
        return vec![widen_tunnel(hop, node, len)];
    }
    let others = node.around.hops.iter().map(|hop| hop.mtu);
    let wide = others
        .max()
        .filter(|wide| hop.overhead == 0 && *wide >= len);
    let Some(wide) = wide else {
        return Vec::new();
    };
    match Pair::at(facts, node, &hop.ifname) {
        Some(pair) => pair.set(wide),
        None => vec![change::mtu(&hop.ifname, hop.mtu, wide)],
    }
}

/// A tunnel may be as wide as the network below it leaves room for. What does not fit into that has to be
/// smaller where it starts.
fn widen_tunnel(hop: &Hop, node: &NodeFacts, len: u32) -> Fix {
    let below = node.around.hops.iter().filter(|below| below.overhead > 0);
    let room = below.map(Hop::inner_mtu).min().unwrap_or(hop.mtu);
    if room >= len {
        return change::mtu(&hop.ifname, hop.mtu, room);
    }
    Fix::advice(format!(
        "give the interfaces that such packets start from an MTU of {room}: those of pods by the CNI's \
         configuration"
    ))
}

/// What gives up waiting for fragments: older kernels free them there without a reason.
const EXPIRE: [&str; 2] = ["ip_expire", "ip6frag_expire_frag_queue"];

pub(super) fn is_incomplete(facts: &DropFacts) -> Concern {
    let gave_up = facts.reason.is("FRAG_REASM_TIMEOUT")
        || (!facts.reason.is_specified() && EXPIRE.contains(&function(facts)));
    Concern::surely(gave_up)
}

/// A packet of which not all fragments came in time.
pub(super) fn fragments_lost(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = format!(
        "a packet came in fragments, and some are missing{}: fragments are being lost on the path",
        place(facts)
    );
    let mut finding = Finding::new(Point::Mtu, Likely, why).about(&[&place(facts)]);
    finding.evidence.extend(facts.packet.map(|packet| {
        format!(
            "{} bytes of it were here when the kernel gave up waiting",
            packet.len
        )
    }));
    Some(finding)
}

/// The tunnel device that has sent a packet to this other end, if only one can have.
fn carrying(node: &NodeFacts, remote: IpAddr) -> Option<&Link> {
    let devices = node.around.alike.as_deref()?;
    let mut leading = devices
        .iter()
        .filter(|link| link.tunnel_remote() == Some(remote));
    let mut open = devices.iter().filter(|link| link.tunnel_remote().is_none());
    let (found, other) = match leading.next() {
        Some(found) => (found, leading.next()),
        None => (open.next()?, open.next()),
    };
    other.is_none().then_some(found)
}

/// What would get through, if one of the hops in this namespace is too narrow for the packet.
fn advice<'a>(facts: &DropFacts, node: &'a NodeFacts) -> Option<(&'a Hop, Advice)> {
    let hop = narrowest(&node.around.hops)?;
    let packet = facts.packet.as_ref()?;
    (packet.len > hop.inner_mtu()).then_some(())?;
    // A narrower tunnel says what it takes. A narrower interface that packets come in through drops them
    // itself, and says nothing: without a tunnel, the change belongs where they start.
    let tunnel = match (&node.around.tunnel, facts.outer) {
        _ if hop.overhead == 0 => None,
        (Some(tunnel), _) => Some(tunnel),
        (None, Some(outer)) => carrying(node, outer.dst),
        (None, None) => None,
    };
    let start = match tunnel {
        Some(device) => (device.name.as_str(), device.mtu),
        None => (hop.ifname.as_str(), 0),
    };
    Some((hop, advise(facts.flow.dst, hop, start)?))
}
