//! The rules on drops, most direct evidence first. The first that applies gives the verdict.
//!
//! A rule reads the kernel's reason, the function that freed the skb, its stack and its headers, and
//! what the node says where it was asked. Older kernels give less of a reason and other functions:
//! rules name both. `docs/verdicts.md` is made of this table.

mod conntrack;
mod firewall;
mod host;
pub(super) mod listener;
mod mtu;
mod overlay;
mod path;
mod program;

use tracer_common::packet::{GENEVE_PORT, VXLAN_PORTS};

use crate::{
    decode::drop::DropFacts,
    model::{Confidence, Fix, Point},
    node::facts::NodeFacts,
};

/// What a rule has found.
pub(super) struct Finding {
    pub(super) point: Point,
    pub(super) confidence: Confidence,
    pub(super) why: String,
    pub(super) evidence: Vec<String>,
    pub(super) fix: Vec<Fix>,
}

/// One rule.
pub(super) struct Rule {
    /// What documentation and tests call it.
    pub(super) name: &'static str,
    /// The points it can lead to.
    pub(super) points: &'static [Point],
    /// The evidence that it needs.
    pub(super) needs: &'static str,
    /// What it cannot tell apart.
    pub(super) cannot_tell: &'static str,
    /// The finding, if the rule applies.
    pub(super) applies: fn(&DropFacts, &NodeFacts) -> Option<Finding>,
}

/// All rules, in the order in which they are tried.
pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "checksum",
        points: &[Point::Checksum],
        needs: "a drop reason that ends in `_CSUM`",
        cannot_tell: "who corrupted the packet; checksum offload that is switched off half way looks the same",
        applies: host::checksum,
    },
    Rule {
        name: "too-big-message-lost",
        points: &[Point::Mtu],
        needs: "a dropped ICMP \"fragmentation needed\" (3/4) or ICMPv6 \"packet too big\" (2) that quotes the connection",
        cannot_tell: "whether another copy of the message got through",
        applies: mtu::too_big_message_lost,
    },
    Rule {
        name: "mtu",
        points: &[Point::Mtu],
        needs: "the reason `PKT_TOO_BIG`; or no reason, in a function that drops for size only, with the packet's length and the interface's MTU",
        cannot_tell: "a single drop from a black hole: if the ICMP message arrives, TCP recovers at once",
        applies: mtu::mtu,
    },
    Rule {
        name: "fragments-lost",
        points: &[Point::Mtu],
        needs: "the reason `FRAG_REASM_TIMEOUT`, or none in `ip_expire` or `ip6frag_expire_frag_queue`",
        cannot_tell: "who lost the other fragments; a firewall that passes no fragments is as likely as a lossy link",
        applies: mtu::fragments_lost,
    },
    Rule {
        name: "overlay",
        points: &[Point::Overlay],
        needs: "a reason or a function of the tunnel code; or a drop of a packet that carries VXLAN or Geneve; or a drop at a tunnel device for want of a neighbour, or for another MAC address",
        cannot_tell: "a wrong VNI here from one at the sender",
        applies: overlay::overlay,
    },
    Rule {
        name: "tunnel-down",
        points: &[Point::Overlay],
        needs: "the reason `IP_INNOROUTES`, in a namespace with a tunnel device that is down",
        cannot_tell: "whether the route that is missing was one by that device: `likely` at most",
        applies: overlay::tunnel_down,
    },
    Rule {
        name: "listener-queue",
        points: &[Point::Listener],
        needs: "the reason `TCP_LISTEN_OVERFLOW`, or `NO_SOCKET` in `cookie_v4_check` or `cookie_v6_check`; the queue's length and the backlog for the figures",
        cannot_tell: "a slow application from a burst of connections",
        applies: listener::listener_queue,
    },
    Rule {
        name: "nfqueue",
        points: &[Point::Policy, Point::Firewall],
        needs: "`nfqnl_reinject` (`nf_reinject` on older kernels) at the top of the stack; the thread's name is the program that decided. Or `nf_queue` as the function that freed the packet: nobody was there to decide",
        cannot_tell: "which policy it was",
        applies: firewall::nfqueue,
    },
    Rule {
        name: "conntrack-full",
        points: &[Point::Conntrack],
        needs: "a netfilter drop in `PREROUTING` or `OUTPUT` of a packet without a conntrack entry, and conntrack's count at its maximum",
        cannot_tell: "a full table from a rule at the same hook that could have dropped the packet, too: then `likely`",
        applies: conntrack::table_full,
    },
    Rule {
        name: "netfilter",
        points: &[
            Point::Firewall,
            Point::Policy,
            Point::Endpoint,
            Point::Conntrack,
        ],
        needs: "the reason `NETFILTER_DROP`, or a netfilter function that freed the packet; the namespace's ruleset for which rule it was, its owner and what it is for; the state that conntrack gave the packet",
        cannot_tell: "several rules that could each have dropped it; a BPF netfilter program from a rule",
        applies: firewall::netfilter,
    },
    Rule {
        name: "ipsec",
        points: &[Point::Firewall],
        needs: "the reason `XFRM_POLICY`",
        cannot_tell: "a policy that blocks from one that wants the packet encrypted",
        applies: firewall::ipsec,
    },
    Rule {
        name: "isolated-port",
        points: &[Point::Firewall],
        needs: "no reason, in `br_handle_frame_finish`, at a bridge port that is isolated",
        cannot_tell: "isolation from a VLAN or a port state that refuses the packet: `likely` at most",
        applies: firewall::isolated_port,
    },
    Rule {
        name: "bpf-program",
        points: &[Point::Firewall],
        needs: "a tc, XDP, cgroup or socket-filter reason, or a function that runs XDP programs",
        cannot_tell: "which of several programs at the same place it was",
        applies: program::bpf_program,
    },
    Rule {
        name: "reverse-path",
        points: &[Point::Rpfilter],
        needs: "the reason `IP_RPFILTER`, or one for martian packets",
        cannot_tell: "a spoofed source from an asymmetric route",
        applies: path::reverse_path,
    },
    Rule {
        name: "neighbour",
        points: &[Point::Endpoint],
        needs: "a `NEIGH_` reason, the function `neigh_invalidate`, or `OTHERHOST`",
        cannot_tell: "an endpoint that is gone from one that is down, or from a dead gateway on the way",
        applies: path::neighbour,
    },
    Rule {
        name: "not-here",
        points: &[Point::Endpoint],
        needs: "the reason `IP_INADDRERRORS`, in a namespace whose own way to the destination is back where the packet came from",
        cannot_tell: "an endpoint that is gone from one whose neighbour entry leads to another",
        applies: path::not_here,
    },
    Rule {
        name: "time-to-live",
        points: &[Point::Route],
        needs: "the reason `IP_INHDR` in a function that forwards",
        cannot_tell: "a routing loop from a sender that allows few hops",
        applies: path::time_to_live,
    },
    Rule {
        name: "route",
        points: &[Point::Route],
        needs: "a reason for missing routes, or a function that discards by route",
        cannot_tell: "a blackhole from an unreachable route on kernels that give no reason",
        applies: path::route,
    },
    Rule {
        name: "queue",
        points: &[Point::Queue],
        needs: "a `QDISC_` reason or one for full queues",
        cannot_tell: "a burst from steady overload",
        applies: host::queue,
    },
    Rule {
        name: "socket",
        points: &[Point::Socket],
        needs: "the reason `NO_SOCKET`, or one for full socket buffers",
        cannot_tell: "a process that is not started yet from one that is gone",
        applies: host::socket,
    },
];

pub(super) fn found(point: Point, confidence: Confidence, why: String) -> Option<Finding> {
    Some(Finding {
        point,
        confidence,
        why,
        evidence: Vec::new(),
        fix: Vec::new(),
    })
}

/// The function that freed the skb.
pub(super) fn function(facts: &DropFacts) -> &str {
    facts.function.as_deref().unwrap_or("an unknown function")
}

/// Whether a netfilter hook dropped it.
pub(super) fn is_netfilter(facts: &DropFacts) -> bool {
    facts.reason.is("NETFILTER_DROP")
        || matches!(
            function(facts),
            "nf_hook_slow" | "nft_do_chain" | "nf_hook_slow_list" | "nf_queue"
        )
}

/// Where it happened, as a person would say it.
fn place(facts: &DropFacts) -> String {
    match &facts.ifname {
        Some(ifname) => format!(" at {ifname}"),
        None => String::new(),
    }
}

/// Whether the packet carries a tunnel's packet.
fn is_tunnelled(facts: &DropFacts) -> bool {
    facts.outer.as_ref().is_some_and(|outer| {
        outer
            .dport
            .is_none_or(|port| VXLAN_PORTS.contains(&port) || port == GENEVE_PORT)
    })
}

#[cfg(test)]
mod tests;
