//! The verdict on a connection attempt.
//!
//! In order of how direct the evidence is: a drop of one of its own packets; what came back and who
//! sent it; a listener that is seen to be full; and last the gap, which means something only where
//! nothing could have been missed.

mod datagrams;
mod departure;
mod listener;
mod replies;
mod silence;
mod stall;
mod tls;
mod tunnel_stats;
mod way;
mod way_back;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

pub(crate) use self::{
    replies::sender,
    tunnel_stats::{LATELY, Losses, OtherAttempts},
};
use super::rule::{Finding, Rule};
use crate::{
    attempt::{Attempt, OwnDrop},
    model::{Direction, Outcome, Point, Verdict},
    node::{
        bypass::Destination,
        datagrams::DatagramSocket,
        gather::Fact,
        listener::ListenerFacts,
        silent_hop::SilentHop,
        tun::TunDevice,
        way::Way,
        world::{LinkId, World},
    },
    words,
};

/// What the ladder alone does not say.
#[derive(Debug, Clone, Default)]
pub(crate) struct AttemptContext {
    /// What keeps probes from seeing everything in the watched namespaces, a sentence each.
    pub(crate) blind_spots: Vec<String>,
    /// Events lost since before the attempt's first packet.
    pub(crate) lost: u64,
    /// What is known of the interface of the last hop.
    pub(crate) last_interface: Option<Interface>,
    /// Whether the destination is an address of the last hop's namespace.
    pub(crate) destination_is_local: bool,
    /// The listeners that the SYN was for, where their namespace was found and looked at.
    pub(crate) listener: Option<ListenerFacts>,
    /// The next hop that the SYN waits for, where it came in and was not seen to leave.
    pub(crate) silent_hop: Option<SilentHop>,
    /// Where a watched namespace has the destination's address, its name.
    pub(crate) destination_holder: Option<String>,
    /// All namespaces of the node, where the question needed them.
    pub(crate) world: Option<Arc<World>>,
    /// The ways that the node has for the packet, where it was asked.
    pub(crate) ways: Vec<Way>,
    /// The way that it has for the first answer, from where the packet is delivered.
    pub(crate) way_back: Option<Way>,
    /// The namespaces that are watched: what passes an interface there is seen.
    pub(crate) watched: BTreeSet<u32>,
    /// The watched interfaces that lead off this node.
    pub(crate) uplinks: BTreeSet<LinkId>,
    /// What NAT has made of its destination.
    pub(crate) destination: Option<Destination>,
    /// The tun device that it left by.
    pub(crate) tun: Option<TunDevice>,
    /// The datagram socket that it is for.
    pub(crate) datagrams: Option<DatagramSocket>,
    /// Whether the sender of an ICMP error is an address of a watched namespace.
    pub(crate) sender_is_own: bool,
    /// Whose address the sender of an ICMP error has, where the objects know it: `node n2`.
    pub(crate) sender_name: Option<String>,
    /// What became of other attempts by the same tunnel.
    pub(crate) others: Option<OtherAttempts>,
}

impl AttemptContext {
    /// Whether the SYN was seen to reach its destination's namespace, or to leave by an interface behind
    /// which that is: nothing on its way to there has refused it.
    #[must_use]
    pub(crate) fn has_arrived(&self, attempt: &Attempt) -> bool {
        let left_towards_it = || {
            let last_out = attempt
                .last_hop()
                .is_some_and(|hop| hop.place.dir == Direction::Out);
            let leads_off = self.last_interface.as_ref().map(|last| last.leads_off);
            last_out && leads_off == Some(false)
        };
        self.destination_is_local || left_towards_it()
    }
}

/// What is known of an interface.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    /// What it is: `physical`, `veth`, `tun`, …
    pub(crate) kind: String,
    /// Whether what goes out by it leaves this node.
    pub(crate) leads_off: bool,
    /// Its own addresses, in order.
    pub(crate) addresses: Vec<IpAddr>,
}

/// All that a rule looks at.
pub(super) struct Case<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) outcome: Outcome,
    pub(super) around: &'a AttemptContext,
}

/// How a rule is asked about an attempt.
pub(super) struct OnAttempt {
    /// The finding, if it applies.
    finds: fn(&Case<'_>) -> Option<Finding>,
    /// What rules it out, if it came into question and does not apply.
    refutes: Option<fn(&Case<'_>) -> Option<String>>,
}

impl OnAttempt {
    const fn new(finds: fn(&Case<'_>) -> Option<Finding>) -> Self {
        Self {
            finds,
            refutes: None,
        }
    }

    const fn or_refuted(self, by: fn(&Case<'_>) -> Option<String>) -> Self {
        Self {
            refutes: Some(by),
            ..self
        }
    }
}

/// All rules, in the order in which they are tried. Before them all comes a drop of one of the
/// attempt's own packets, whose verdict is the attempt's.
pub(super) const RULES: &[Rule<OnAttempt>] = &[
    Rule {
        name: "tls-reset",
        points: &[Point::Socket],
        needs: &[],
        evidence: "a ClientHello behind a finished handshake, and a RST with the server's first sequence number: it has sent no data",
        refuted_by: "data of the server before the RST",
        cannot_tell: "the server itself from a device on the way that looks into TLS",
        applies: OnAttempt::new(tls::reset),
    },
    Rule {
        name: "refused",
        points: &[Point::Socket],
        needs: &[],
        evidence: "a RST that answers the SYN, and whether it came in or was made here",
        refuted_by: "a SYN-ACK for the same SYN",
        cannot_tell: "a closed port from a rule elsewhere that rejects with tcp reset",
        applies: OnAttempt::new(replies::refused),
    },
    Rule {
        name: "rejected",
        points: &[
            Point::Firewall,
            Point::Endpoint,
            Point::Route,
            Point::Socket,
            Point::Unknown,
        ],
        needs: &[],
        evidence: "an ICMP error that quotes the SYN or the query: its type, its code and its sender",
        refuted_by: "an answer to the same SYN or query",
        cannot_tell: "for TCP, \"port unreachable\" of a firewall from that of a Service without endpoints",
        applies: OnAttempt::new(replies::rejected),
    },
    Rule {
        name: "stalled",
        points: &[Point::Mtu, Point::Unknown],
        needs: &[],
        evidence: "a finished handshake, and a segment that is sent again and again over half a second; `mtu` for full segments and for a ClientHello that fills more than 1280 bytes",
        refuted_by: "an acknowledgement of the segment that is sent again",
        cannot_tell: "without a drop, a narrow hop from any other loss of large packets: `possible` at most",
        applies: OnAttempt::new(stall::stalled),
    },
    Rule {
        name: "misaddressed-answer",
        points: &[Point::Conntrack, Point::Unknown],
        needs: &[],
        evidence: "an answer that came back to where the first packet was first seen, from another address or port than was asked",
        refuted_by: "an answer from the address that was asked",
        cannot_tell: "where the question was not seen to be translated: an answer that NAT did not translate back from a server that answers from another address",
        applies: OnAttempt::new(silence::misaddressed_answer),
    },
    Rule {
        name: "tunnel-rejected",
        points: &[Point::Overlay],
        needs: &[],
        evidence: "an ICMP error that quotes a tunnel's packet, and the SYN or the query inside: its type, its code and its sender",
        refuted_by: "an answer through the same tunnel",
        cannot_tell: "a tunnel device that is gone from a rule there that rejects: `likely` at most",
        applies: OnAttempt::new(replies::tunnel_rejected),
    },
    Rule {
        name: "reply-lost",
        points: &[Point::OffNode, Point::Unknown],
        needs: &[],
        evidence: "an answer that was seen on its way back, and not where the first packet was first seen",
        refuted_by: "the answer, seen where the first packet was first seen",
        cannot_tell: "without a drop, who lost it on this node",
        applies: OnAttempt::new(silence::reply_lost),
    },
    Rule {
        name: "listener-silence",
        points: &[Point::Listener],
        needs: &[Fact::Listener],
        evidence: "a SYN that reached the listener's namespace; sock_diag's Recv-Q above Send-Q, or a full SYN queue; `confirmed` only if the namespace's and the listener's own drop counters moved meanwhile",
        refuted_by: "room in both queues",
        cannot_tell: "several listeners that share the port",
        applies: OnAttempt::new(listener::silence).or_refuted(listener::has_room),
    },
    Rule {
        name: "unread-socket",
        points: &[Point::Socket],
        needs: &[Fact::Listener],
        evidence: "a datagram that reached its destination's namespace, and one socket there for its port, with data that waits to be read (Recv-Q of `ss -u`) and no less of it a quarter of a second later, while no datagram was read in the namespace (`UdpInDatagrams`, `Udp6InDatagrams`)",
        refuted_by: "a Recv-Q that is empty or gets shorter; datagrams that are read meanwhile in that namespace; an answer",
        cannot_tell: "a process that hangs from one that is too slow, and this datagram from those that wait with it: `likely` at most",
        applies: OnAttempt::new(datagrams::unread).or_refuted(datagrams::are_read),
    },
    Rule {
        name: "stale-entry-silence",
        points: &[Point::Conntrack],
        needs: &[Fact::Destination],
        evidence: "silence, and an entry of conntrack in one of the namespaces on the way that keeps another destination than the rules would give a new connection",
        refuted_by: "an entry that follows the rules, or none; an answer",
        cannot_tell: "whether the destination that the entry keeps would answer later: `likely` at most",
        applies: OnAttempt::new(departure::stale_entry)
            .or_refuted(departure::entry_follows_the_rules),
    },
    Rule {
        name: "unread-tun",
        points: &[Point::Queue],
        needs: &[Fact::Tun],
        evidence: "a last hop out by a tun device, and packets that were sent by it, and neither read nor dropped a second later (`ip -s link`, `tc -s qdisc`), while the process reads none for a quarter of a second; the process that has it open",
        refuted_by: "an empty ring; packets that are read meanwhile",
        cannot_tell: "a process that hangs from one that is too slow: `likely` at most",
        applies: OnAttempt::new(departure::unread_tun).or_refuted(departure::tun_is_read),
    },
    Rule {
        name: "exempted-from-nat",
        points: &[Point::Conntrack],
        needs: &[Fact::World, Fact::Way],
        evidence: "a notrack rule that the packet meets, rules behind it that would translate it, and a hop behind both with the client's own destination",
        refuted_by: "a hop that is translated, an entry of the connection in conntrack, or an answer",
        cannot_tell: "the rules as they were from the rules as they are a moment later: `likely` at most",
        applies: OnAttempt::new(way::exempted),
    },
    Rule {
        name: "way",
        points: &[
            Point::Firewall,
            Point::Policy,
            Point::Route,
            Point::Rpfilter,
            Point::Endpoint,
            Point::Mtu,
        ],
        needs: &[Fact::World, Fact::Way],
        evidence: "the routes, rules and neighbors of all namespaces, by which the packet ends where it was last seen",
        refuted_by: "a place where it was seen behind that, or a namespace that is watched and showed no drop",
        cannot_tell: "the node as it was from the node as it is a moment later: `likely` at most",
        applies: OnAttempt::new(way::explained),
    },
    Rule {
        name: "silent-hop",
        points: &[Point::Endpoint, Point::Overlay, Point::Unknown],
        needs: &[Fact::Neighbor],
        evidence: "a SYN that came in and was not seen to leave, and a neighbor entry for its next hop that is `FAILED`, or `INCOMPLETE` after two questions",
        refuted_by: "a neighbor entry with a MAC address",
        cannot_tell: "an endpoint that is gone from one that takes seconds to answer ARP or ND",
        applies: OnAttempt::new(silence::silent_hop),
    },
    Rule {
        name: "way-contradicted",
        points: &[Point::Unknown],
        needs: &[Fact::World, Fact::Way],
        evidence: "a packet that left this node, and routes and rules by which it ends on this node",
        refuted_by: "routes and rules by which it leaves this node",
        cannot_tell: "a fault of the model from routes or rules that have changed since",
        applies: OnAttempt::new(way::contradicted),
    },
    Rule {
        name: "shared-source",
        points: &[Point::OffNode],
        needs: &[],
        evidence: "a last hop out with a source that was translated to one of several addresses of its interface, and no answer",
        refuted_by: "an answer; an address that only this node has (`arping -D`)",
        cannot_tell: "an answer that went to another host from none at all: `likely` at most",
        applies: OnAttempt::new(departure::shared_source),
    },
    Rule {
        name: "way-back",
        points: &[
            Point::Firewall,
            Point::Route,
            Point::Rpfilter,
            Point::Endpoint,
            Point::Conntrack,
        ],
        needs: &[Fact::World, Fact::Way],
        evidence: "the routes, rules and neighbors of all namespaces, by which the packet is delivered in one of them, and by which no answer comes back from there, or none by the namespace that translated the packet",
        refuted_by: "an answer that was seen, or a namespace that is watched and showed no drop of one",
        cannot_tell: "an answer that is lost from a packet that is lost in front of its destination: `likely` at most",
        applies: OnAttempt::new(way_back::explained),
    },
    Rule {
        name: "off-node",
        points: &[Point::OffNode],
        needs: &[],
        evidence: "a last hop out by an interface that leads off this node, probes on all interfaces, no event lost, and no drop of it here",
        refuted_by: "an answer, or a drop of it on this node",
        cannot_tell: "a security group from a dead host or a lost answer; never `confirmed`",
        applies: OnAttempt::new(silence::off_node),
    },
    Rule {
        name: "gap",
        points: &[Point::Unknown],
        needs: &[Fact::Listener],
        evidence: "the last place where it was seen",
        refuted_by: "a later hop of the same packet",
        cannot_tell: "what happened behind it: it says what would have to be known",
        applies: OnAttempt::new(silence::gap),
    },
];

/// Judges an attempt whose outcome is known, and says whether the verdict is that of a drop; `None`
/// where there is nothing to judge.
pub(crate) fn judge(
    attempt: &Attempt,
    outcome: Outcome,
    around: &AttemptContext,
) -> (Option<Verdict>, bool) {
    if outcome == Outcome::Answered {
        return (None, false);
    }
    let Some(drop) = attempt.deciding_drop(outcome) else {
        return (by_rules(attempt, outcome, around), false);
    };
    let is_explained = drop.verdict.point != Point::Unknown;
    // This node's own rejection says nothing that its drop does not.
    let is_final = is_explained || (outcome == Outcome::Rejected && attempt.reply_is_local());
    // A drop whose cause is not known gives way to any other explanation.
    let otherwise = || by_rules(attempt, outcome, around).filter(|it| it.point != Point::Unknown);
    match (!is_final).then(otherwise).flatten() {
        Some(verdict) => (Some(verdict), false),
        None => (Some(of_drop(drop, attempt, outcome, around)), true),
    }
}

/// The verdict on a drop, for the attempt that it has decided.
fn of_drop(
    drop: &OwnDrop,
    attempt: &Attempt,
    outcome: Outcome,
    around: &AttemptContext,
) -> Verdict {
    let others = around.others.as_ref();
    let mut evidence = ladder(attempt);
    evidence.extend(
        others.and_then(|others| tunnel_stats::in_words(others, outcome, drop.verdict.point)),
    );
    evidence.extend(stalled_hello(attempt, outcome));
    evidence.extend(drop.verdict.evidence.iter().cloned());
    Verdict {
        evidence,
        ..drop.verdict.clone()
    }
}

fn by_rules(attempt: &Attempt, outcome: Outcome, around: &AttemptContext) -> Option<Verdict> {
    let mut evidence = ladder(attempt);
    let others = around.others.as_ref();
    let other_attempts = |point| tunnel_stats::in_words(others?, outcome, point);
    let case = Case {
        attempt,
        outcome,
        around,
    };
    let mut refuted = Vec::new();
    let (rule, finding) = RULES.iter().find_map(|rule| {
        let finding = (rule.applies.finds)(&case);
        if finding.is_none() {
            let because = rule.applies.refutes.and_then(|by| by(&case));
            refuted.extend(because.map(|because| rule.refuted(because)));
        }
        Some((rule.name, finding?))
    })?;
    evidence.extend(other_attempts(finding.point));
    evidence.extend(stalled_hello(attempt, outcome));
    let mut verdict = finding.into_verdict(Some(rule));
    evidence.append(&mut verdict.evidence);
    Some(Verdict {
        evidence,
        refuted,
        ..verdict
    })
}

/// What of TLS an attempt has stalled at.
fn stalled_hello(attempt: &Attempt, outcome: Outcome) -> Option<String> {
    (outcome == Outcome::Stalled).then(|| tls::unanswered(attempt))?
}

/// Why a negative cannot be claimed.
fn doubts(around: &AttemptContext) -> Vec<String> {
    let mut doubts = around.blind_spots.clone();
    if around.lost > 0 {
        let were = if around.lost == 1 { "was" } else { "were" };
        let events = words::count(around.lost, "event");
        doubts.push(format!("{events} {were} lost meanwhile"));
    }
    doubts
}

/// The ladder in words.
fn ladder(attempt: &Attempt) -> Vec<String> {
    let mut evidence = Vec::new();
    let what = if attempt.dns.is_some() {
        "query"
    } else {
        "SYN"
    };
    if let Some(last) = attempt.last_hop() {
        let verb = match last.place.dir {
            Direction::In => "in by",
            Direction::Out => "out by",
        };
        let times = words::times(attempt.openings());
        let places = match attempt.hops.len() {
            1 => "one place".to_owned(),
            places => format!("{places} places"),
        };
        evidence.push(format!(
            "the {what} was seen {times}, at {places}, last {verb} {}",
            last.place.ifname
        ));
    }
    evidence
}
