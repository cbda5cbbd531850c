//! Interfaces, buckets and memory of this host, and packets that are corrupt.

use super::{Concern, Finding, function, place};
use tracer_common::tunnel::Tunnel;

use crate::{
    decode::drop::DropFacts,
    model::{
        Confidence::{Confirmed, Likely},
        Fix, Point, Protocol, Site,
        shell::Command,
    },
    net::Limits,
    node::{change, facts::NodeFacts, fragments::Fragments},
    words,
};

/// Bytes in front of the network header, as a token bucket counts them.
const ETHERNET_HEADER: u32 = 14;
/// A burst that holds a GSO packet of the usual size, in bytes.
const SOUND_BURST: u32 = 64 << 10;

pub(super) fn is_corrupt(facts: &DropFacts) -> Concern {
    Concern::surely(facts.reason.name().ends_with("_CSUM"))
}

pub(super) fn checksum(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = format!("the checksum is wrong ({})", facts.reason);
    Some(Finding::new(Point::Checksum, Confirmed, why).about(&[&facts.reason]))
}

pub(super) fn is_corrupt_tunnel(facts: &DropFacts) -> Concern {
    let by_udp = facts
        .outer
        .is_some_and(|outer| outer.proto == Protocol::Udp);
    Concern::surely(by_udp && facts.reason.is("UDP_CSUM"))
}

/// The checksum of the packet that carries another one.
pub(super) fn tunnel_checksum(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let outer = facts.outer?;
    // The packet was still in its tunnel: what is inside is looked at later.
    let tunnel = Tunnel::of(outer.proto.number(), outer.dport, outer.dst.is_ipv6());
    let name = tunnel.map_or("the tunnel", Tunnel::name);
    let why = format!(
        "the outer UDP checksum of {name} from {} is wrong ({})",
        outer.src, facts.reason
    );
    let mut finding =
        Finding::new(Point::Checksum, Confirmed, why).about(&[&facts.reason, &outer.src]);
    finding.fact("the packet inside was not looked at yet");
    // Nodes of a cluster call it alike.
    finding.fix.push(match node.around.tunnels.first() {
        Some(device) => Fix::command(
            Command::new("ethtool -K")
                .arg(&device.name)
                .words("tx-checksum-ip-generic off"),
        )
        .at(Site::Sender)
        .noting("if its checksum offload is at fault, and not a device on the way"),
        None => Fix::advice("switch checksum offload off at the tunnel device").at(Site::Sender),
    });
    Some(finding)
}

pub(super) fn may_not_be_ready(facts: &DropFacts) -> Concern {
    let at_a_queue = facts.reason.name().starts_with("QDISC_");
    match facts.reason.is("DEV_READY") {
        true => Concern::Surely,
        false => Concern::maybe(at_a_queue),
    }
}

/// The interface is not up, or has no carrier. A queue that was full before counts what it dropped;
/// one that was taken off an interface which is not ready counts nothing.
pub(super) fn interface_not_ready(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let by_reason = facts.reason.is("DEV_READY");
    let at_a_queue = facts.reason.name().starts_with("QDISC_");
    let link = node.around.link.as_ref();
    let is_down = link.is_some_and(|link| !link.up);
    let lacks_carrier = link.is_some_and(|link| link.up && !link.running);
    (by_reason || (at_a_queue && (is_down || lacks_carrier))).then_some(())?;
    let queued: u64 = node
        .around
        .qdiscs
        .iter()
        .map(|qdisc| u64::from(qdisc.drops))
        .sum();
    let name = facts.ifname.as_deref().unwrap_or("the interface");
    let state = match (is_down, lacks_carrier) {
        (true, _) => "is down",
        (_, true) => "has no carrier",
        _ => "was not ready to send",
    };
    let confidence = match by_reason || queued == 0 {
        true => Confirmed,
        false => Likely,
    };
    let mut finding =
        Finding::new(Point::Route, confidence, format!("{name} {state}")).about(&[&name]);
    if !by_reason {
        finding.fact(match queued {
            0 => format!("no queue of {name} has dropped anything"),
            _ => format!(
                "{name} {state} now; its queues have dropped {}, so that one may have been full \
                 before",
                words::count(queued, "packet")
            ),
        });
    }
    if lacks_carrier && link.is_some_and(|link| link.kind.is_tun()) {
        finding.why += ", as when no process has it open";
        finding.fix.push(Fix::advice(format!(
            "start the program that {name} belongs to (a VPN, often), or remove the route that leads \
             there"
        )));
    }
    if is_down {
        let set = |state: &'static str| Command::new("ip link set dev").arg(name).words(state);
        finding.fix.push(Fix::change(set("up"), set("down")));
    }
    Some(finding)
}

pub(super) fn may_be_larger_than_burst(facts: &DropFacts) -> Concern {
    let at_a_queue = facts.reason.name().starts_with("QDISC_");
    Concern::maybe(at_a_queue || function(facts) == "tbf_enqueue")
}

/// A frame that is larger than a token bucket can ever hold tokens for.
pub(super) fn larger_than_burst(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let bucket = node
        .around
        .qdiscs
        .iter()
        .find_map(|qdisc| match qdisc.limits {
            Some(Limits::Rate {
                rate, limit, burst, ..
            }) => Some((qdisc, rate, limit, burst?)),
            _ => None,
        });
    let (qdisc, rate, limit, burst) = bucket?;
    // The bucket counts the link-layer header, too, and each segment of a GSO packet for itself.
    let packet = facts.packet.as_ref()?;
    let len = match packet.gso_size {
        Some(_) => facts.mtu.unwrap_or(packet.len),
        None => packet.len,
    };
    let frame = len.checked_add(ETHERNET_HEADER)?;
    (frame > burst).then_some(())?;
    let ifname = facts.ifname.as_deref()?;
    let set = |burst: u32| {
        let parent = match qdisc.parent_name() {
            None => Command::new("tc qdisc replace dev")
                .arg(ifname)
                .words("root"),
            Some(parent) => Command::new("tc qdisc replace dev")
                .arg(ifname)
                .words("parent")
                .arg(parent),
        };
        parent
            .words("tbf rate")
            .arg(format!("{rate}bit"))
            .words("burst")
            .arg(format!("{burst}b"))
            .words("limit")
            .arg(format!("{}b", limit.max(burst)))
    };
    let why = format!(
        "frames of {frame} bytes are larger than the burst of the token bucket (tbf) at {ifname}, \
         {burst} bytes: it never lets them pass"
    );
    Some(Finding {
        evidence: vec![format!("the queue: {qdisc}")],
        fix: vec![Fix::change(set(SOUND_BURST.max(frame)), set(burst))],
        ..Finding::new(Point::Queue, Confirmed, why).about(&[&ifname])
    })
}

pub(super) fn is_out_of_reassembly_memory(facts: &DropFacts) -> Concern {
    let in_defrag = matches!(
        function(facts),
        "ip_defrag" | "ip_frag_reasm" | "nf_ct_frag6_gather" | "ipv6_frag_rcv"
    );
    Concern::maybe(in_defrag && facts.reason.is("NOT_SPECIFIED"))
}

/// Memory for fragments that wait for their rest.
pub(super) fn reassembly_memory(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let memory = node.around.fragments.as_ref()?;
    memory.is_full().then_some(())?;
    let (limit, used) = (memory.limit, memory.used);
    let setting = memory.setting;
    let why = format!(
        "fragments could not wait for the rest of their packet{}: the memory for reassembly is \
         full ({setting}={limit})",
        place(facts)
    );
    let mut finding = Finding::new(Point::Queue, Likely, why).about(&[&place(facts)]);
    finding.fact(match used {
        Some(used) => format!("fragments that wait take {used} of {limit} bytes"),
        None => format!("{setting} allows {limit} bytes"),
    });
    finding.fact(format!(
        "reassembly has failed {} in this namespace so far ({})",
        words::times(memory.failed),
        memory.counter
    ));
    let path = setting.replace('.', "/");
    finding
        .fix
        .push(change::sysctl(&path, limit, Fragments::USUAL_LIMIT));
    Some(finding)
}

pub(super) fn fragments_have_room(_: &DropFacts, node: &NodeFacts) -> Option<String> {
    let memory = node.around.fragments.as_ref()?;
    (!memory.is_full()).then(|| match memory.used {
        Some(used) => format!("fragments that wait take {used} of {} bytes", memory.limit),
        None => format!("{} allows {} bytes", memory.setting, memory.limit),
    })
}
