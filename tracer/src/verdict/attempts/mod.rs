//! The verdict on a connection attempt.
//!
//! In order of how direct the evidence is: a drop of one of its own packets; what came back and who
//! sent it; a listener that is seen to be full; and last the gap, which means something only where
//! nothing could have been missed.

mod datagrams;
mod departure;
mod listener;
mod own_subnet;
mod replies;
mod rules;
mod silence;
mod stall;
mod tls;
mod tunnel_stats;
mod way;
mod way_back;
mod wireguard;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

pub(super) use self::rules::RULES;
pub(crate) use self::{
    replies::sender,
    tunnel_stats::{LATELY, Losses, OtherAttempts},
};
pub(crate) use super::drops::question::LostQuestion;
use super::rule::Finding;
use crate::{
    attempt::{Attempt, OwnDrop, Step},
    model::{Direction, Flow, Outcome, Point, Verdict, address},
    node::{
        answer_route::AnswerRoute,
        bypass::Destination,
        datagrams::DatagramSocket,
        listener::ListenerFacts,
        silent_hop::SilentHop,
        translation::LostTranslation,
        tun::TunDevice,
        way::{Comparison, Way},
        wireguard::Encrypted,
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
    /// What was counted where its way ends, while it was sent again.
    pub(crate) compared: Option<Comparison>,
    /// Questions for neighbors, and answers to them, that were dropped since its first packet.
    pub(crate) lost_questions: Vec<LostQuestion>,
    /// The namespaces that are watched: what passes an interface there is seen.
    pub(crate) watched: BTreeSet<u32>,
    /// The watched interfaces that lead off this node.
    pub(crate) uplinks: BTreeSet<LinkId>,
    /// What NAT has made of its destination.
    pub(crate) destination: Option<Destination>,
    /// The tun device that it left through.
    pub(crate) tun: Option<TunDevice>,
    /// The datagram socket that it is for.
    pub(crate) datagrams: Option<DatagramSocket>,
    /// What has become of the translation that the connection began with, if that is gone.
    pub(crate) lost_translation: Option<LostTranslation>,
    /// The route of an answer that left through another interface than its question came by.
    pub(crate) answer_route: Option<AnswerRoute>,
    /// The peer that a WireGuard device has encrypted it for.
    pub(crate) encrypted: Option<Encrypted>,
    /// Whether the sender of an ICMP error is an address of a watched namespace.
    pub(crate) sender_is_own: bool,
    /// Whose address the sender of an ICMP error has, where the objects know it: `node n2`.
    pub(crate) sender_name: Option<String>,
    /// What became of other attempts by the same tunnel.
    pub(crate) others: Option<OtherAttempts>,
}

impl AttemptContext {
    /// Whether the SYN was seen to reach its destination's namespace, or to leave through an interface behind
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
    /// Whether what leaves through it leaves this node.
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

/// That nothing but the packets of a tunnel shows the attempt: a host that can send those may have
/// made it up.
fn only_in_a_tunnel(attempt: &Attempt) -> Option<String> {
    let outer = attempt.hops.first()?.outer?;
    let of_tunnel = |hop: &Step| hop.outer.is_some_and(|other| other.src == outer.src);
    let is_only_there = attempt.hops.iter().all(of_tunnel) && attempt.reply_hops.is_empty();
    let sender = IpAddr::from(outer.src);
    is_only_there.then(|| format!("it was seen only inside the packets of a tunnel, from {sender}"))
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
            Direction::In => "coming in through",
            Direction::Out => "leaving through",
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
    evidence.extend(led_elsewhere(attempt));
    evidence.extend(only_in_a_tunnel(attempt));
    evidence
}

/// Where a query was sent, if a rule of the sender's own has led it to another server: a drop behind that
/// does not show it.
fn led_elsewhere(attempt: &Attempt) -> Option<String> {
    attempt.dns.as_ref()?;
    let first = attempt.hops.first()?;
    (first.place.dir == Direction::Out).then_some(())?;
    let asked = attempt.original_dst()?;
    let server = Flow::from(&first.flow).destination();
    (asked != server).then_some(())?;
    Some(format!(
        "it was for {}: a rule of the namespace that sent it (REDIRECT or DNAT) has led it to {}",
        address(asked),
        address(server)
    ))
}
