//! The rules on drops, most direct evidence first. The first that applies gives the verdict.
//!
//! A rule reads the kernel's reason, the function that freed the skb, its stack and its headers, and
//! what the node says where it was asked. Older kernels give less of a reason and other functions:
//! rules name both. `docs/verdicts.md` is made of this table.

pub(super) mod answers;
mod bridge;
mod bridge_port;
mod closed_port;
mod conntrack;
mod firewall;
mod host;
mod insertion;
pub(super) mod listener;
pub(super) mod mtu;
mod next_hop;
mod nfqueue;
pub(super) mod not_here;
pub(super) mod other_host;
mod overlay;
pub(super) mod path;
mod program;
pub(super) mod question;
pub(super) mod redirect;
mod routes;
mod service_address;
mod socket;
mod stale_entry;
mod unruled;

use super::rule::{Finding, Rule};
use crate::{
    decode::drop::DropFacts,
    model::Point,
    node::{facts::NodeFacts, gather::Fact},
};

/// How a rule is asked about a drop.
pub(super) struct OnDrop {
    /// Whether it comes into question, by the drop alone.
    pub(super) concerns: fn(&DropFacts) -> Concern,
    /// The finding, if it applies; asked only if it comes into question.
    pub(super) finds: fn(&DropFacts, &NodeFacts) -> Option<Finding>,
    /// What rules it out, if it came into question and does not apply.
    pub(super) refutes: Option<fn(&DropFacts, &NodeFacts) -> Option<String>>,
}

/// Whether a rule comes into question for a drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// It does not.
    No,
    /// What the node says will decide it.
    Maybe,
    /// It applies, whatever the node says.
    Surely,
}

impl Concern {
    fn surely(applies: bool) -> Self {
        if applies { Self::Surely } else { Self::No }
    }

    fn maybe(may_apply: bool) -> Self {
        if may_apply { Self::Maybe } else { Self::No }
    }
}

impl OnDrop {
    const fn new(
        concerns: fn(&DropFacts) -> Concern,
        finds: fn(&DropFacts, &NodeFacts) -> Option<Finding>,
    ) -> Self {
        Self {
            concerns,
            finds,
            refutes: None,
        }
    }

    const fn or_refuted(self, by: fn(&DropFacts, &NodeFacts) -> Option<String>) -> Self {
        Self {
            refutes: Some(by),
            ..self
        }
    }
}

/// All rules, in the order in which they are tried.
pub(super) const RULES: &[Rule<OnDrop>] = &[
    Rule {
        name: "tunnel-checksum",
        points: &[Point::Checksum],
        needs: &[Fact::Overlay],
        evidence: "the reason `UDP_CSUM` for a packet that still carries another one, in VXLAN or Geneve",
        refuted_by: "a capture of the outer packet at this interface with a correct UDP checksum",
        cannot_tell: "the sender's checksum offload from a device on the way that spoils it",
        applies: OnDrop::new(host::is_corrupt_tunnel, host::tunnel_checksum),
    },
    Rule {
        name: "checksum",
        points: &[Point::Checksum],
        needs: &[],
        evidence: "a drop reason that ends in `_CSUM`",
        refuted_by: "a capture of the packet at this interface with a correct checksum",
        cannot_tell: "who corrupted the packet; checksum offload that is switched off half way looks the same",
        applies: OnDrop::new(host::is_corrupt, host::checksum),
    },
    Rule {
        name: "too-big-message-lost",
        points: &[Point::Mtu],
        needs: &[Fact::Ruleset],
        evidence: "a dropped ICMP \"fragmentation needed\" (3/4) or ICMPv6 \"packet too big\" (2) that quotes a packet which an attempt can have sent, by its sequence number; the namespace's ruleset for the rule that dropped it",
        refuted_by: "a smaller path MTU in the sender's route cache afterwards (`ip route get`): another copy got through",
        cannot_tell: "whether another copy of the message got through; a message that a hop on the way has sent from one that someone made up there: `likely` at most, where this namespace has not sent it",
        applies: OnDrop::new(mtu::is_too_big_message, mtu::too_big_message_lost),
    },
    Rule {
        name: "mtu",
        points: &[Point::Mtu],
        needs: &[Fact::Mtu],
        evidence: "the reason `PKT_TOO_BIG`; or no reason, in a function that drops for size only, with the packet's length and the interface's MTU",
        refuted_by: "a packet of the same size that passes the same hop",
        cannot_tell: "a single drop from a black hole: if the ICMP message arrives, TCP recovers at once",
        applies: OnDrop::new(mtu::is_too_large, mtu::mtu),
    },
    Rule {
        name: "fragments-lost",
        points: &[Point::Mtu],
        needs: &[],
        evidence: "the reason `FRAG_REASM_TIMEOUT`, or none in `ip_expire` or `ip6frag_expire_frag_queue`",
        refuted_by: "a capture of all fragments at the interface that they come in by",
        cannot_tell: "who lost the other fragments; a firewall that passes no fragments is as likely as a lossy link",
        applies: OnDrop::new(mtu::is_incomplete, mtu::fragments_lost),
    },
    Rule {
        name: "overlay-filtered",
        points: &[Point::Overlay],
        needs: &[Fact::Ruleset, Fact::Overlay],
        evidence: "a netfilter drop of a packet that carries another one, in VXLAN, Geneve, IP-in-IP or GRE",
        refuted_by: "a drop of the same packet with all candidate rules removed",
        cannot_tell: "several rules that could each have dropped it",
        applies: OnDrop::new(overlay::is_filtered, overlay::filtered),
    },
    Rule {
        name: "overlay",
        points: &[Point::Overlay],
        needs: &[Fact::Overlay],
        evidence: "a reason or a function of the tunnel code; or a drop of a packet that carries another one, in VXLAN, Geneve, IP-in-IP or GRE; or a drop at a tunnel device for want of a neighbor, or for another MAC address",
        refuted_by: "the VNI, VTEP, route or neighbor entry that it says is missing; for `NO_TX_TARGET`, a function of the bridge, which has ports and no VTEP",
        cannot_tell: "a wrong VNI here from one at the sender",
        applies: OnDrop::new(overlay::is_overlays, overlay::overlay),
    },
    Rule {
        name: "tunnel-down",
        points: &[Point::Overlay],
        needs: &[Fact::Overlay, Fact::Route],
        evidence: "the reason `IP_INNOROUTES`, in a namespace with a VXLAN device that is down, has a remote VTEP, and has an address of the destination's network (the first 16 bits of IPv4)",
        refuted_by: "tunnel devices that are all up; one without a remote VTEP; a destination of another network; a route by another device to others of that network",
        cannot_tell: "whether the route that is missing was one by that device: `likely` at most",
        applies: OnDrop::new(overlay::lacks_route, overlay::tunnel_down)
            .or_refuted(overlay::tunnels_are_up),
    },
    Rule {
        name: "listener-queue",
        points: &[Point::Listener],
        needs: &[Fact::Listener],
        evidence: "the reason `TCP_LISTEN_OVERFLOW`, or `NO_SOCKET` in `cookie_v4_check` or `cookie_v6_check`; the queue's length and the backlog for the figures",
        refuted_by: "a Recv-Q that stays below Send-Q while such drops go on",
        cannot_tell: "a slow application from a burst of connections",
        applies: OnDrop::new(listener::is_overflow, listener::listener_queue),
    },
    Rule {
        name: "queue-without-program",
        points: &[Point::Firewall],
        needs: &[Fact::Ruleset],
        evidence: "`nf_queue` as the function that freed the packet: no program was there to decide",
        refuted_by: "a program bound to that queue (`/proc/net/netfilter/nfnetlink_queue`)",
        cannot_tell: "a program that has ended from one whose queue is full",
        applies: OnDrop::new(nfqueue::is_unserved, nfqueue::unserved),
    },
    Rule {
        name: "nfqueue",
        points: &[Point::Policy, Point::Firewall],
        needs: &[Fact::Ruleset, Fact::QueueProgram],
        evidence: "`nfqnl_reinject` (`nf_reinject` on older kernels) at the top of the stack; the thread's name, its executable and the owner of the queue rule say which program decided",
        refuted_by: "a ruleset without a rule that queues to userspace",
        cannot_tell: "which policy it was",
        applies: OnDrop::new(nfqueue::was_refused, nfqueue::refused),
    },
    Rule {
        name: "conntrack-full",
        points: &[Point::Conntrack],
        needs: &[Fact::Ruleset, Fact::Conntrack],
        evidence: "a netfilter drop in `PREROUTING` or `OUTPUT` of a packet without a conntrack entry, and conntrack's count at its maximum, or its `drop` that has grown since the trace began where no rule can have dropped the packet",
        refuted_by: "a count below the maximum",
        cannot_tell: "a full table from a rule at the same hook that could have dropped the packet, too: then `likely`",
        applies: OnDrop::new(conntrack::may_be_full, conntrack::table_full)
            .or_refuted(conntrack::has_room),
    },
    Rule {
        name: "conntrack-insertion",
        points: &[Point::Conntrack],
        needs: &[Fact::Ruleset, Fact::Conntrack],
        evidence: "a netfilter drop in `POSTROUTING` or `INPUT` of a packet whose entry is not in the table yet, no rule there that can have made it; an entry with the same tuple, or `insert_failed` of conntrack's statistics since the trace began",
        refuted_by: "an `insert_failed` of 0 and a tuple that is free; a rule that can have dropped the packet",
        cannot_tell: "without the entry that has the tuple, which of two packets came first: `likely` at most",
        applies: OnDrop::new(insertion::may_be_uninsertable, insertion::tuple_taken)
            .or_refuted(insertion::every_insertion_succeeded),
    },
    Rule {
        name: "unroutable-translation",
        points: &[Point::Route],
        needs: &[Fact::Ruleset, Fact::Route, Fact::World],
        evidence: "a netfilter drop in `OUTPUT` of a packet that NAT or a mark has changed there, no rule that can have made it, and no route for what the packet is now",
        refuted_by: "a route from its source to its new destination (`ip route get DST from SRC`); a rule that can have dropped it",
        cannot_tell: "a route that was missing from one that has gone since: `likely` at most",
        applies: OnDrop::new(unruled::may_be_rerouted, unruled::unroutable_translation)
            .or_refuted(unruled::is_routable),
    },
    Rule {
        name: "dead-proxy",
        points: &[Point::Firewall],
        needs: &[Fact::Ruleset],
        evidence: "a netfilter drop in `PREROUTING`, no rule that can have made it, and a `TPROXY` rule of iptables that sends the packet to a port where no transparent socket is",
        refuted_by: "a transparent socket at the proxy's address and port (`ss -lnt`); a rule that can have dropped the packet",
        cannot_tell: "a proxy that has gone from one that is not started yet: `likely` at most",
        applies: OnDrop::new(unruled::may_be_proxied, unruled::dead_proxy)
            .or_refuted(unruled::proxies_are_alive),
    },
    Rule {
        name: "netfilter",
        points: &[
            Point::Firewall,
            Point::Policy,
            Point::Endpoint,
            Point::Conntrack,
            Point::Unknown,
        ],
        needs: &[Fact::Ruleset, Fact::Conntrack],
        evidence: "the reason `NETFILTER_DROP`, or a netfilter function that freed the packet; the namespace's ruleset for which rule it was, its owner and what it is for; the state that conntrack gave the packet",
        refuted_by: "a counter of the rule that does not move while such packets are dropped; at a hook of the bridge family, the port that the frame came in by, where the rule asks for another interface",
        cannot_tell: "several rules that could each have dropped it; at a hook of the bridge family, a rule of ebtables' own tables, which are not read: `likely` at most where the kernel has them loaded; where no rule can, a rule that has gone since from a module of the kernel: `unknown`, or `firewall` as `possible` where BPF programs are at the netfilter hooks",
        applies: OnDrop::new(
            |facts| Concern::surely(is_netfilter(facts)),
            firewall::netfilter,
        ),
    },
    Rule {
        name: "ipsec",
        points: &[Point::Firewall],
        needs: &[],
        evidence: "the reason `XFRM_POLICY`",
        refuted_by: "a namespace without IPsec policies (`ip xfrm policy`)",
        cannot_tell: "a policy that blocks from one that wants the packet encrypted",
        applies: OnDrop::new(firewall::is_ipsec, firewall::ipsec),
    },
    Rule {
        name: "isolated-port",
        points: &[Point::Firewall],
        needs: &[Fact::Link],
        evidence: "no reason, in `br_handle_frame_finish`, at a bridge port that is isolated",
        refuted_by: "a bridge port that is not isolated",
        cannot_tell: "isolation from a VLAN or a port state that refuses the packet: `likely` at most",
        applies: OnDrop::new(firewall::may_be_isolated, firewall::isolated_port)
            .or_refuted(firewall::port_is_not_isolated),
    },
    Rule {
        name: "bpf-program",
        points: &[Point::Firewall, Point::Policy],
        needs: &[Fact::Programs],
        evidence: "a tc or XDP reason, or a function that runs XDP programs",
        refuted_by: "such drops that go on with the program detached",
        cannot_tell: "which of several programs at the same place it was",
        applies: OnDrop::new(program::is_of_interface, program::bpf_program),
    },
    Rule {
        name: "cgroup-program",
        points: &[Point::Firewall, Point::Policy],
        needs: &[Fact::CgroupPrograms],
        evidence: "a cgroup or socket-filter reason",
        refuted_by: "such drops that go on with the program detached",
        cannot_tell: "which of several programs at the same place it was; a socket filter from a cgroup program at ingress",
        applies: OnDrop::new(program::is_of_process, program::bpf_program),
    },
    Rule {
        name: "reverse-path",
        points: &[Point::Rpfilter],
        needs: &[Fact::RpFilter, Fact::World],
        evidence: "the reason `IP_RPFILTER`, or one for martian packets",
        refuted_by: "a route back to the source by the interface that the packet came in by",
        cannot_tell: "a spoofed source from an asymmetric route",
        applies: OnDrop::new(path::is_refused_for_its_source, path::reverse_path),
    },
    Rule {
        name: "stale-entry",
        points: &[Point::Conntrack],
        needs: &[Fact::Destination],
        evidence: "a packet that is not routed, not answered for or not taken, and an entry of conntrack, made by an earlier packet, that keeps another destination than the rules would give a new connection",
        refuted_by: "an entry that follows the rules of now",
        cannot_tell: "whether the destination that the entry keeps would answer later: `likely` at most",
        applies: OnDrop::new(stale_entry::may_be_stale, stale_entry::stale_entry)
            .or_refuted(stale_entry::follows_the_rules),
    },
    Rule {
        name: "refused-question",
        points: &[Point::Firewall, Point::Policy],
        needs: &[Fact::World, Fact::Way],
        evidence: "a packet that waited in vain for its next hop, and a rule or a program on the way of the ARP request or the Neighbor Solicitation for it, or of the answer",
        refuted_by: "an answer of that neighbor",
        cannot_tell: "whether the program did drop it: `likely` at most",
        applies: OnDrop::new(question::may_be_refused, question::refused),
    },
    Rule {
        name: "neighbor",
        points: &[Point::Endpoint, Point::Route, Point::Unknown],
        needs: &[Fact::Route, Fact::Neighbor, Fact::World],
        evidence: "a `NEIGH_` reason, or the function `neigh_invalidate`; the route, its next hop by the interface that the packet waited at, and all network namespaces that have the address",
        refuted_by: "an ARP or ND reply from that address at this interface, or a neighbor entry that is usable; no next hop of the packet's route by the interface that it waited at; a namespace of this node that has the address changes what it says; of a default route without a gateway: hosts of the link that answer for others (proxy ARP)",
        cannot_tell: "an endpoint that is gone from one that is down, where no namespace of this node has the address",
        applies: OnDrop::new(path::lacks_neighbor, path::neighbor),
    },
    Rule {
        name: "neighbor-table",
        points: &[Point::Queue],
        needs: &[Fact::Route],
        evidence: "the reason `NEIGH_CREATEFAIL`",
        refuted_by: "a neighbor table with room (`ip -s neighbor`, gc_thresh3)",
        cannot_tell: "a full table from a lack of memory",
        applies: OnDrop::new(path::lacks_entry, path::neighbor_table),
    },
    Rule {
        name: "other-host",
        points: &[Point::Endpoint, Point::Unknown],
        needs: &[Fact::World],
        evidence: "the reason `OTHERHOST`; the links of this node that have the frame's MAC addresses, and the sender's neighbor entry",
        refuted_by: "a link that has the MAC address, and the address that the sender's entry gives it to",
        cannot_tell: "where the sender is not on this node: a stale entry from a switch that floods",
        applies: OnDrop::new(other_host::is_for_another, other_host::other_host),
    },
    Rule {
        name: "not-here",
        points: &[Point::Endpoint],
        needs: &[Fact::Route, Fact::World],
        evidence: "the reason `IP_INADDRERRORS`, in a namespace whose own way to the destination is back where the packet came from; the namespaces of this node that have the destination, their MAC addresses, and the sender's neighbor entry",
        refuted_by: "a route from that namespace that leads on to the destination; a sender that takes the namespace for a router; a namespace of this node that has the destination changes what it says",
        cannot_tell: "where no namespace in sight has the destination: an endpoint that is gone from one that has moved",
        applies: OnDrop::new(not_here::may_be_elsewhere, not_here::not_here)
            .or_refuted(not_here::leads_on),
    },
    Rule {
        name: "time-to-live",
        points: &[Point::Route, Point::Overlay],
        needs: &[Fact::Overlay, Fact::World],
        evidence: "the reason `IP_INHDR` in a function that forwards; the tunnel's FDB, where it sends the packet to this node itself",
        refuted_by: "a traceroute that reaches the destination without passing a hop twice",
        cannot_tell: "a routing loop from a sender that allows few hops",
        applies: OnDrop::new(path::is_expired, path::time_to_live),
    },
    Rule {
        name: "route",
        points: &[Point::Route],
        needs: &[Fact::Route, Fact::World],
        evidence: "a reason for missing routes, or a function that discards by route",
        refuted_by: "a usable route for the packet (`ip route get`)",
        cannot_tell: "a blackhole from an unreachable route on kernels that give no reason",
        applies: OnDrop::new(path::is_unrouted, path::route),
    },
    Rule {
        name: "interface-not-ready",
        points: &[Point::Route],
        needs: &[Fact::Link, Fact::Qdisc],
        evidence: "the reason `DEV_READY`, or a `QDISC_` reason at an interface that is down or without carrier now, whose queues have dropped nothing (`likely` where they have)",
        refuted_by: "an interface that is up with a carrier",
        cannot_tell: "an interface that was down only for a moment: it may be up again by now",
        applies: OnDrop::new(host::may_not_be_ready, host::interface_not_ready),
    },
    Rule {
        name: "larger-than-burst",
        points: &[Point::Queue],
        needs: &[Fact::Qdisc],
        evidence: "a drop at a queue, a token bucket (tbf) at that interface, and a frame larger than its burst",
        refuted_by: "a frame of the same size that passes",
        cannot_tell: "whether the frame was one large packet or its segments",
        applies: OnDrop::new(host::may_be_larger_than_burst, host::larger_than_burst),
    },
    Rule {
        name: "queue",
        points: &[Point::Queue],
        needs: &[Fact::Qdisc, Fact::Tun],
        evidence: "a `QDISC_` or `FQ_` reason, or one for full queues and rings",
        refuted_by: "a drop counter of the queue that does not move",
        cannot_tell: "a burst from steady overload",
        applies: OnDrop::new(host::is_queue, host::queue),
    },
    Rule {
        name: "reassembly-memory",
        points: &[Point::Queue],
        needs: &[Fact::Fragments],
        evidence: "no reason, in the code that reassembles fragments; memory for reassembly that is in use up to its limit, and `ReasmFails`",
        refuted_by: "room in the memory for fragments (`/proc/net/sockstat`)",
        cannot_tell: "full memory for fragments from overlapping or malformed ones: `likely` at most",
        applies: OnDrop::new(host::is_out_of_reassembly_memory, host::reassembly_memory)
            .or_refuted(host::fragments_have_room),
    },
    Rule {
        name: "bridge-port-state",
        points: &[Point::Route],
        needs: &[Fact::World],
        evidence: "the reason `BRIDGE_INGRESS_STP_STATE`; the state of the bridge port",
        refuted_by: "a port in forwarding state",
        cannot_tell: "a port that is about to forward from one that is blocked to break a loop, where the state has changed since",
        applies: OnDrop::new(bridge::is_not_forwarding, bridge::port_state),
    },
    Rule {
        name: "bridge-no-target",
        points: &[Point::Route],
        needs: &[Fact::World],
        evidence: "the reason `NO_TX_TARGET` in a function of the bridge; its ports, their settings and its FDB entries",
        refuted_by: "an FDB entry for the frame's MAC address, or another port that floods it",
        cannot_tell: "ports and entries of then from those of now: `likely` at most",
        applies: OnDrop::new(bridge_port::lacks_target, bridge_port::no_target),
    },
    Rule {
        name: "locked-bridge-port",
        points: &[Point::Route],
        needs: &[Fact::World],
        evidence: "no reason, in `br_handle_frame_finish`; a bridge port that is locked, and no FDB entry there for the sender's MAC address",
        refuted_by: "a port that is not locked, or an FDB entry for the sender at that port",
        cannot_tell: "an entry that was missing from one that has gone since: `likely` at most",
        applies: OnDrop::new(bridge::may_be_hairpin, bridge_port::locked),
    },
    Rule {
        name: "hairpin",
        points: &[Point::Route],
        needs: &[Fact::World],
        evidence: "no reason, in `br_handle_frame_finish`, and a destination behind the bridge port that the frame came in by, with hairpin mode off",
        refuted_by: "hairpin mode that is on, or a destination behind another port",
        cannot_tell: "hairpin mode from a learned MAC address that has moved since: `likely` at most",
        applies: OnDrop::new(bridge::may_be_hairpin, bridge::hairpin),
    },
    Rule {
        name: "tcp-signature",
        points: &[Point::Socket],
        needs: &[],
        evidence: "a `TCP_MD5…` or `TCP_AO…` reason",
        refuted_by: "the same key on both sides",
        cannot_tell: "which of the two sides has the wrong key",
        applies: OnDrop::new(socket::is_signature, socket::signature),
    },
    Rule {
        name: "old-timestamp",
        points: &[Point::Socket],
        needs: &[],
        evidence: "a PAWS reason",
        refuted_by: "a timestamp later than the last one",
        cannot_tell: "two hosts behind one address from one host whose clock went back",
        applies: OnDrop::new(socket::is_old_timestamp, socket::old_timestamp),
    },
    Rule {
        name: "low-ttl",
        points: &[Point::Socket],
        needs: &[],
        evidence: "the reason `TCP_MINTTL` for a segment that carries more than an ACK",
        refuted_by: "a TTL at or above the minimum in a capture",
        cannot_tell: "a peer without TTL security from one that is further away than configured",
        applies: OnDrop::new(socket::is_low_ttl, socket::low_ttl),
    },
    Rule {
        name: "answer-from-another-address",
        points: &[Point::Conntrack, Point::Socket],
        needs: &[Fact::Sockets, Fact::World],
        evidence: "the reason `NO_SOCKET` for a packet that is no SYN, and a socket of that address and port that talks to another end",
        refuted_by: "a socket that talks to the sender",
        cannot_tell: "which of the ways back missed the translation: `likely` at most",
        applies: OnDrop::new(answers::may_be_misaddressed, answers::other_address),
    },
    Rule {
        name: "untracked-answer",
        points: &[Point::Conntrack],
        needs: &[Fact::Conntrack],
        evidence: "the reason `NO_SOCKET` for a packet that is no SYN and has no entry in conntrack, and a connection whose answers look like it",
        refuted_by: "an answer that conntrack has given that connection's entry",
        cannot_tell: "a rule that exempts it from tracking from a conntrack that called it invalid, where the kernel does not say: `likely` at most",
        applies: OnDrop::new(answers::may_be_untracked, answers::untracked),
    },
    Rule {
        name: "closed-port",
        points: &[Point::Socket],
        needs: &[Fact::Sockets, Fact::World],
        evidence: "the reason `NO_SOCKET` for a SYN or a datagram; the connection's entry in conntrack for where it was sent before NAT, and the device that has the address",
        refuted_by: "a socket on that address, port and interface (`ss -lntu`); that an address is left over, an entry that translates it",
        cannot_tell: "a device that kube-proxy's IPVS mode has left behind from a port that the Service does not have; a process that is not started yet from one that is gone; of a socket that takes such a packet by now, whether it was there: `likely` at most",
        applies: OnDrop::new(closed_port::is_first, closed_port::closed),
    },
    Rule {
        name: "stray-answer",
        points: &[Point::Unknown],
        needs: &[],
        evidence: "the reason `NO_SOCKET` for a SYN-ACK",
        refuted_by: "a socket here that waits for it",
        cannot_tell: "an answer that was not translated back from one for another host",
        applies: OnDrop::new(answers::is_stray, answers::stray),
    },
    Rule {
        name: "socket-buffer",
        points: &[Point::Socket],
        needs: &[],
        evidence: "a reason for full socket buffers",
        refuted_by: "room in the buffer (`ss -m`)",
        cannot_tell: "a slow application from a burst",
        applies: OnDrop::new(socket::has_full_buffer, socket::buffer),
    },
    Rule {
        name: "no-protocol",
        points: &[Point::Socket],
        needs: &[],
        evidence: "the reason `IP_NOPROTO` or `UNHANDLED_PROTO`",
        refuted_by: "a handler for the protocol",
        cannot_tell: "a protocol whose module is not loaded from one that the kernel lacks",
        applies: OnDrop::new(socket::lacks_protocol, socket::no_protocol),
    },
];

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

/// Whether the packet carries another one: it is a tunnel's.
fn is_tunnelled(facts: &DropFacts) -> bool {
    facts.outer.is_some()
}

#[cfg(test)]
pub(super) mod tests;
