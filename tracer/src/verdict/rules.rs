//! The rules on drops, most direct evidence first. The first that applies gives the verdict.
//!
//! A rule reads the kernel's reason, the function that freed the skb, its stack and its headers.
//! Older kernels give less of a reason and other functions: those rules name both.

use tracer_common::packet::{GENEVE_PORT, VXLAN_PORTS, protocol};

use super::drop::function;
use crate::{
    drops::decode::DropFacts,
    node::facts::NodeFacts,
    record::{
        Confidence::{self, Confirmed, Likely},
        Point,
    },
};

/// What a rule has found.
pub(super) struct Finding {
    pub(super) point: Point,
    pub(super) confidence: Confidence,
    pub(super) why: String,
    pub(super) evidence: Vec<String>,
}

/// One rule.
pub(super) struct Rule {
    /// What documentation and tests call it.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "documentation and tests name rules by it")
    )]
    pub(super) name: &'static str,
    /// The finding, if the rule applies.
    pub(super) applies: fn(&DropFacts, &NodeFacts) -> Option<Finding>,
}

/// All rules, in the order in which they are tried.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "checksum",
        applies: checksum,
    },
    Rule {
        name: "too-big-message-lost",
        applies: too_big_message_lost,
    },
    Rule {
        name: "mtu",
        applies: mtu,
    },
    Rule {
        name: "overlay",
        applies: overlay,
    },
    Rule {
        name: "listener-queue",
        applies: listener_queue,
    },
    Rule {
        name: "nfqueue",
        applies: nfqueue,
    },
    Rule {
        name: "netfilter",
        applies: netfilter,
    },
    Rule {
        name: "bpf-program",
        applies: bpf_program,
    },
    Rule {
        name: "reverse-path",
        applies: reverse_path,
    },
    Rule {
        name: "neighbour",
        applies: neighbour,
    },
    Rule {
        name: "route",
        applies: route,
    },
    Rule {
        name: "queue",
        applies: queue,
    },
    Rule {
        name: "socket",
        applies: socket,
    },
];

fn found(point: Point, confidence: Confidence, why: String) -> Option<Finding> {
    Some(Finding {
        point,
        confidence,
        why,
        evidence: Vec::new(),
    })
}

/// Where it happened, as a person would say it.
fn place(facts: &DropFacts) -> String {
    match &facts.ifname {
        Some(ifname) => format!(" at {ifname}"),
        None => String::new(),
    }
}

fn is_tunnelled(facts: &DropFacts) -> bool {
    facts.outer.as_ref().is_some_and(|outer| {
        outer
            .dport
            .is_none_or(|port| VXLAN_PORTS.contains(&port) || port == GENEVE_PORT)
    })
}

fn checksum(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let bad = facts.reason.ends_with("_CSUM") || facts.reason == "SKB_CSUM";
    bad.then(|| {
        found(
            Point::Checksum,
            Confirmed,
            format!("the checksum is wrong ({})", facts.reason),
        )
    })?
}

/// The message that would make the sender use smaller packets was itself dropped.
fn too_big_message_lost(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let too_big = match (facts.key.flow.proto, facts.packet.as_ref()?.icmp?) {
        (protocol::ICMP, (3, 4)) => "\"fragmentation needed\"",
        (protocol::ICMPV6, (2, _)) => "\"packet too big\"",
        _ => return None,
    };
    let quoted = facts.quoted.as_ref()?;
    found(
        Point::Mtu,
        Confirmed,
        format!(
            "the ICMP message {too_big} for {} was dropped{}: the sender does not learn to send \
             smaller packets",
            quoted.src,
            place(facts)
        ),
    )
}

fn mtu(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let packet = facts.packet.as_ref()?;
    let silent = matches!(
        function(facts),
        "__dev_forward_skb2"
            | "__dev_forward_skb"
            | "br_dev_queue_push_xmit"
            | "br_nf_dev_queue_xmit"
            | "ip_fragment"
            | "ip_do_fragment"
            | "ip6_fragment"
    );
    let (len, mtu) = (packet.len, facts.mtu?);
    let said = facts.reason == "PKT_TOO_BIG";
    let unsaid = silent && facts.reason == "NOT_SPECIFIED";
    if !(said || unsaid) {
        return None;
    }
    let mut finding = found(
        Point::Mtu,
        if said || len > mtu { Confirmed } else { Likely },
        format!(
            "a packet of {len} bytes is larger than the next hop takes{}",
            place(facts)
        ),
    )?;
    finding.evidence.push(format!(
        "{len} bytes from the network header up; MTU of {} is {mtu}",
        facts.ifname.as_deref().unwrap_or("the interface")
    ));
    if let Some(segment) = packet.gso_size {
        finding.evidence.push(format!(
            "a GSO packet with segments of {segment} bytes of payload"
        ));
    }
    Some(finding)
}

fn overlay(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let reason = facts.reason.as_str();
    let in_tunnel_code = ["vxlan_", "geneve_", "ip_tunnel_", "ip_md_tunnel_"]
        .iter()
        .any(|prefix| function(facts).starts_with(prefix));
    let why = match reason {
        "VXLAN_VNI_NOT_FOUND" => "no VXLAN device here has the packet's VNI".to_owned(),
        "NO_TX_TARGET" | "VXLAN_NO_REMOTE" => {
            format!(
                "the tunnel device{} knows no VTEP for the packet's MAC address",
                place(facts)
            )
        }
        "TUNNEL_TXINFO" | "VXLAN_INVALID_HDR" | "LOCAL_MAC" | "MAC_INVALID_SOURCE"
            if in_tunnel_code || is_tunnelled(facts) =>
        {
            format!("the tunnel refuses the packet ({reason})")
        }
        "NO_SOCKET" if is_tunnelled(facts) => {
            "no tunnel device listens for the encapsulated packet here".to_owned()
        }
        "NETFILTER_DROP" if is_tunnelled(facts) => format!(
            "a netfilter rule drops the overlay's own packets{}",
            facts
                .hook
                .map(|hook| format!(" in {hook}"))
                .unwrap_or_default()
        ),
        "NEIGH_FAILED" | "NEIGH_QUEUEFULL" if is_tunnelled(facts) => {
            "the next hop to the remote VTEP does not answer".to_owned()
        }
        "IP_OUTNOROUTES" | "IP_INNOROUTES" if is_tunnelled(facts) || in_tunnel_code => {
            "there is no route to the remote VTEP".to_owned()
        }
        _ if in_tunnel_code => format!("the tunnel code dropped it ({reason})"),
        _ => return None,
    };
    found(Point::Overlay, Confirmed, why)
}

fn listener_queue(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let full = facts.reason == "TCP_LISTEN_OVERFLOW"
        || (facts.reason == "NO_SOCKET" && function(facts) == "cookie_v4_check");
    full.then(|| {
        let listener = match facts.flow.dport {
            Some(port) => format!("{}:{port}", facts.flow.dst),
            None => facts.flow.dst.to_string(),
        };
        found(
            Point::Listener,
            Confirmed,
            format!("the accept queue of the listener at {listener} is full"),
        )
    })?
}

/// A verdict that came back from userspace through NFQUEUE.
fn nfqueue(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let asked = facts
        .stack
        .iter()
        .take(3)
        .any(|frame| frame == "nfqnl_reinject");
    asked.then(|| {
        // Made in the process' own context: the thread is the one that decided.
        let is_policy = facts.comm.contains("network-polic");
        let point = if is_policy {
            Point::Policy
        } else {
            Point::Firewall
        };
        found(
            point,
            Confirmed,
            format!("the process {} refused it through NFQUEUE", facts.comm),
        )
    })?
}

/// Which rule it was, the ruleset would say; that it was one, the stack does.
fn netfilter(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let in_netfilter = facts.reason == "NETFILTER_DROP"
        || matches!(
            function(facts),
            "nf_hook_slow" | "nft_do_chain" | "nf_hook_slow_list"
        );
    in_netfilter.then(|| {
        let hook = facts
            .hook
            .map(|hook| format!(" in {hook}"))
            .unwrap_or_default();
        found(
            Point::Firewall,
            Likely,
            format!("a netfilter rule dropped it{hook}{}", place(facts)),
        )
    })?
}

fn bpf_program(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let program = match (facts.reason.as_str(), function(facts)) {
        ("TC_INGRESS", _) => "a tc program or filter at ingress",
        ("TC_EGRESS", _) => "a tc program or filter at egress",
        ("XDP", _) | (_, "do_xdp_generic" | "veth_xdp_rcv_skb" | "veth_xdp_rcv_one") => {
            "an XDP program"
        }
        ("BPF_CGROUP_EGRESS", _) => "a cgroup program at egress",
        ("SOCKET_FILTER", _) => "a socket filter or a cgroup program at ingress",
        _ => return None,
    };
    found(
        Point::Firewall,
        Confirmed,
        format!("{program} dropped it{}", place(facts)),
    )
}

fn reverse_path(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = match facts.reason.as_str() {
        "IP_RPFILTER" => format!(
            "the reverse-path filter: {} is not reached by the interface it came in by{}",
            facts.flow.src,
            place(facts)
        ),
        "IP_LOCALNET" | "IP_LOCAL_SOURCE" | "IP_INVALID_SOURCE" | "IP_INVALID_DEST" => format!(
            "a martian packet: {} cannot be a source{} ({})",
            facts.flow.src,
            place(facts),
            facts.reason
        ),
        _ => return None,
    };
    found(Point::Rpfilter, Confirmed, why)
}

fn neighbour(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = match (facts.reason.as_str(), function(facts)) {
        ("NEIGH_FAILED" | "NEIGH_CREATEFAIL" | "NEIGH_DEAD", _) | (_, "neigh_invalidate") => {
            format!(
                "nobody answers for {} (ARP or ND){}",
                facts.flow.dst,
                place(facts)
            )
        }
        ("NEIGH_QUEUEFULL", _) => format!(
            "packets wait for the neighbour of {} in vain{}, and their queue is full",
            facts.flow.dst,
            place(facts)
        ),
        ("OTHERHOST", _) => format!(
            "the packet{} has another machine's MAC address: a stale neighbour entry at the sender",
            place(facts)
        ),
        _ => return None,
    };
    // The packet may have been on its way to a gateway that is dead, not to the endpoint itself.
    found(Point::Endpoint, Likely, why)
}

fn route(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = match (facts.reason.as_str(), function(facts)) {
        ("IP_INNOROUTES" | "IP_OUTNOROUTES", _) => format!("no route to {}", facts.flow.dst),
        ("IP_INADDRERRORS", _) => format!(
            "{} is not an address of this namespace, and it does not forward",
            facts.flow.dst
        ),
        (
            _,
            "ip_error" | "dst_discard_out" | "dst_discard" | "ip6_pkt_discard" | "ip6_pkt_prohibit",
        ) => {
            format!(
                "the route to {} says blackhole, unreachable or prohibit",
                facts.flow.dst
            )
        }
        _ => return None,
    };
    found(Point::Route, Confirmed, why)
}

fn queue(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let reason = facts.reason.as_str();
    let full = reason.starts_with("QDISC_")
        || matches!(reason, "CPU_BACKLOG" | "FULL_RING" | "DEV_READY")
        || function(facts) == "tbf_enqueue";
    full.then(|| {
        found(
            Point::Queue,
            Confirmed,
            format!("a queue{} is full ({reason})", place(facts)),
        )
    })?
}

fn socket(facts: &DropFacts, _: &NodeFacts) -> Option<Finding> {
    let why = match facts.reason.as_str() {
        "NO_SOCKET" => match facts.flow.dport {
            Some(port) => format!(
                "nobody listens on {} port {port} of {}",
                facts.flow.proto, facts.flow.dst
            ),
            None => format!("no socket takes {} at {}", facts.flow.proto, facts.flow.dst),
        },
        "SOCKET_RCVBUFF" | "SOCKET_BACKLOG" | "PROTO_MEM" => {
            format!("the receiving socket's buffer is full ({})", facts.reason)
        }
        _ => return None,
    };
    found(Point::Socket, Confirmed, why)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::SystemTime};

    use tracer_common::{event::DropKey, tuple::Tuple};

    use super::*;
    use crate::{drops::decode::Decoder, kernel::clock::Clock, record::Flow, verdict::drop::judge};

    fn facts(reason: &str, function: &str) -> DropFacts {
        let key = DropKey {
            flow: Tuple {
                proto: protocol::TCP,
                ..Tuple::default()
            },
            location: 0,
            reason: 0,
            netns: 0,
            ifindex: 0,
            tcp_flags: 0,
            has_payload: 0,
            icmp_type: 0,
            reserved: 0,
        };
        DropFacts {
            reason: reason.to_owned(),
            function: Some(function.to_owned()),
            ..Decoder::new(Default::default(), Default::default(), Clock::now())
                .key(&key, SystemTime::UNIX_EPOCH)
        }
    }

    fn tunnelled(reason: &str, function: &str) -> DropFacts {
        let outer = Flow {
            proto: "udp".to_owned(),
            src: [192, 0, 2, 1].into(),
            sport: Some(50000),
            dst: [192, 0, 2, 2].into(),
            dport: Some(8472),
        };
        DropFacts {
            outer: Some(outer),
            ..facts(reason, function)
        }
    }

    #[test]
    fn each_rule_has_a_name_of_its_own() {
        let names: HashSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
    }

    #[test]
    fn reasons_and_functions_lead_to_points() {
        for (reason, function, point) in [
            ("NETFILTER_DROP", "nft_do_chain", Point::Firewall),
            ("TC_EGRESS", "__dev_queue_xmit", Point::Firewall),
            ("NOT_SPECIFIED", "do_xdp_generic", Point::Firewall),
            ("IP_RPFILTER", "ip_rcv_finish_core", Point::Rpfilter),
            ("NEIGH_FAILED", "neigh_invalidate", Point::Endpoint),
            ("NOT_SPECIFIED", "neigh_invalidate", Point::Endpoint),
            ("NOT_SPECIFIED", "ip_error", Point::Route),
            ("IP_INNOROUTES", "ip6_pkt_discard", Point::Route),
            ("QDISC_DROP", "__dev_queue_xmit", Point::Queue),
            ("NO_SOCKET", "tcp_v4_rcv", Point::Socket),
            ("NO_SOCKET", "cookie_v4_check", Point::Listener),
            ("TCP_LISTEN_OVERFLOW", "tcp_v4_rcv", Point::Listener),
            ("TCP_CSUM", "tcp_v4_rcv", Point::Checksum),
            ("VXLAN_VNI_NOT_FOUND", "vxlan_rcv", Point::Overlay),
            ("NOT_SPECIFIED", "some_driver", Point::Unknown),
        ] {
            assert_eq!(
                judge(&facts(reason, function), &NodeFacts::default()).point,
                point,
                "{reason} @{function}"
            );
        }
    }

    #[test]
    fn the_overlays_own_packets_are_the_overlays() {
        for (reason, function) in [
            ("NETFILTER_DROP", "nf_hook_slow"),
            ("NO_SOCKET", "__udp4_lib_rcv"),
            ("NEIGH_FAILED", "neigh_invalidate"),
            ("IP_OUTNOROUTES", "vxlan_xmit_one"),
        ] {
            assert_eq!(
                judge(&tunnelled(reason, function), &NodeFacts::default()).point,
                Point::Overlay,
                "{reason}"
            );
        }
    }

    #[test]
    fn what_no_rule_explains_is_said_with_what_is_known() {
        let verdict = judge(
            &facts("SOMETHING_NEW", "some_function"),
            &NodeFacts::default(),
        );
        assert_eq!(verdict.point, Point::Unknown);
        assert!(verdict.why.contains("some_function") && verdict.why.contains("SOMETHING_NEW"));
    }
}
