//! What filters packets: netfilter with NAT and conntrack, IPsec, BPF programs.

use crate::{
    model::Point,
    node::gather::Fact,
    verdict::{
        drops::{
            Concern, OnDrop, conntrack, dead_redirect, firewall, insertion, ipsec, ipvs,
            is_netfilter, nfqueue, openvswitch, program, unruled,
        },
        rule::Rule,
    },
};

pub(super) const RULES: &[Rule<OnDrop>] = &[
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
        evidence: "a netfilter drop in `PREROUTING` or `OUTPUT` of a packet without a conntrack entry, and conntrack's count at its maximum, or its `drop` that has grown since the trace began where no rule could have dropped the packet",
        refuted_by: "a count below the maximum",
        cannot_tell: "a full table from a rule at the same hook that could have dropped the packet, too: then `likely`",
        applies: OnDrop::new(conntrack::may_be_full, conntrack::table_full)
            .or_refuted(conntrack::has_room),
    },
    Rule {
        name: "conntrack-insertion",
        points: &[Point::Conntrack],
        needs: &[Fact::Ruleset, Fact::Conntrack],
        evidence: "a netfilter drop in `POSTROUTING` or `INPUT` of a packet whose entry is not in the table yet, no rule there that could have made it; an entry with the same tuple, or `insert_failed` of conntrack's statistics since the trace began",
        refuted_by: "an `insert_failed` of 0 and a tuple that is free; a rule that could have dropped the packet",
        cannot_tell: "without the entry that has the tuple, which of two packets came first: `likely` at most",
        applies: OnDrop::new(insertion::may_be_uninsertable, insertion::tuple_taken)
            .or_refuted(insertion::every_insertion_succeeded),
    },
    Rule {
        name: "unroutable-translation",
        points: &[Point::Route],
        needs: &[Fact::Ruleset, Fact::Route, Fact::World],
        evidence: "a netfilter drop in `OUTPUT` of a packet that NAT or a mark has changed there, no rule that could have made it, and no route for what the packet is now",
        refuted_by: "a route from its source to its new destination (`ip route get DST from SRC`); a rule that could have dropped it",
        cannot_tell: "a route that was missing from one that has gone since: `likely` at most",
        applies: OnDrop::new(unruled::may_be_rerouted, unruled::unroutable_translation)
            .or_refuted(unruled::is_routable),
    },
    Rule {
        name: "ipvs-no-server",
        points: &[Point::Endpoint],
        needs: &[Fact::Ruleset, Fact::Ipvs],
        evidence: "a netfilter drop in `INPUT`, `FORWARD` or `OUTPUT`, no rule that could have made it, and a service of IPVS for its destination without a server that gets new connections (`ipvsadm -Ln`); `confirmed` if this node has sent \"port unreachable\" just before, as IPVS does",
        refuted_by: "a server of that service with a weight above 0; a rule that could have dropped it",
        cannot_tell: "a service that had no server from one that has lost its last one since: `likely` without that answer",
        applies: OnDrop::new(ipvs::may_be_balanced, ipvs::without_server)
            .or_refuted(ipvs::has_server),
    },
    Rule {
        name: "dead-proxy",
        points: &[Point::Firewall],
        needs: &[Fact::Ruleset],
        evidence: "a netfilter drop in `PREROUTING`, no rule that could have made it, and a `TPROXY` rule of iptables that sends the packet to a port where no transparent socket is",
        refuted_by: "a transparent socket at the proxy's address and port (`ss -lnt`); a rule that could have dropped the packet",
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
        refuted_by: "a counter of the rule that does not move while such packets are dropped; at a hook of the bridge family, the port that the frame came in through, where the rule asks for another interface; that a later segment was dropped for its state (NEW, INVALID or UNTRACKED), a rule that would drop it if it were ESTABLISHED, too; that it was dropped for its mark, several rules that may have set the mark",
        cannot_tell: "an entry of conntrack that has expired from one that was flushed; several rules that could each have dropped it; at a hook of the bridge family, a rule of ebtables' own tables, which are not read: `likely` at most where the kernel has them loaded; where no rule can, a rule that has gone since from a module of the kernel: `unknown`, or `firewall` as `possible` where BPF programs are at the netfilter hooks",
        applies: OnDrop::new(
            |facts| Concern::surely(is_netfilter(facts)),
            firewall::netfilter,
        ),
    },
    Rule {
        name: "ipsec",
        points: &[Point::Firewall],
        needs: &[Fact::Ipsec],
        evidence: "the reason `XFRM_POLICY`; the policy of IPsec that fits the packet, the number of SAs, and `/proc/net/xfrm_stat`",
        refuted_by: "a namespace without IPsec policies (`ip xfrm policy`)",
        cannot_tell: "an SA that is missing from one of other addresses, where there are some: then `XfrmOutNoStates` says it; which policy it was, where one asks for a source port or has gone since",
        applies: OnDrop::new(ipsec::is_refused, ipsec::refused),
    },
    Rule {
        name: "ipsec-without-association",
        points: &[Point::Firewall],
        needs: &[Fact::Ipsec, Fact::Route],
        evidence: "no reason, in `dst_discard_out`, of a packet that was sent here, for which there is a route; a policy of IPsec that wants it encrypted, and `XfrmOutNoStates`",
        refuted_by: "a route that refuses the packet; no such policy (`ip xfrm policy`); an `XfrmOutNoStates` of 0",
        cannot_tell: "a route that refused the packet and has gone since: `likely` at most",
        applies: OnDrop::new(ipsec::may_lack_association, ipsec::lacks_association)
            .or_refuted(ipsec::needs_no_association),
    },
    Rule {
        name: "security-module",
        points: &[Point::Firewall],
        needs: &[],
        evidence: "the reason `SECURITY_HOOK`",
        refuted_by: "such drops that go on with the module in permissive mode",
        cannot_tell: "which of several modules it was",
        applies: OnDrop::new(firewall::is_security_module, firewall::security_module),
    },
    Rule {
        name: "open-vswitch",
        points: &[
            Point::Firewall,
            Point::Queue,
            Point::Conntrack,
            Point::Route,
            Point::Mtu,
            Point::Unknown,
        ],
        needs: &[],
        evidence: "an `OVS_DROP_` reason (Linux 6.7, and BTF of the module openvswitch)",
        refuted_by: "`ovs-appctl ofproto/trace` of the flow with an output action",
        cannot_tell: "a policy from a flow that is missing, where the flow has no output (`OVS_DROP_LAST_ACTION`): `likely` at most; which flow it was",
        applies: OnDrop::new(openvswitch::is_refused, openvswitch::refused),
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
        name: "dead-redirect",
        points: &[Point::Route],
        needs: &[Fact::Programs],
        evidence: "the reason `TC_INGRESS` or `TC_EGRESS`, and a filter of tc at the interface, the only one that drops, which redirects packets to an interface that is down or has gone; its `overlimits`, which count what it could not send",
        refuted_by: "the interface that it leads to, up (`ip link show`)",
        cannot_tell: "whether the filter matches this packet, where it has counted none: then `likely`",
        applies: OnDrop::new(
            dead_redirect::may_lead_nowhere,
            dead_redirect::leads_nowhere,
        )
        .or_refuted(dead_redirect::all_lead_somewhere),
    },
    Rule {
        name: "bpf-program",
        points: &[Point::Firewall, Point::Policy],
        needs: &[Fact::Programs],
        evidence: "a tc, XDP or tap filter reason, or a function that runs XDP programs",
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
];
