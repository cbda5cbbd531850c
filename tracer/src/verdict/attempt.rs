//! The verdict on a connection attempt.
//!
//! In order of how direct the evidence is: a drop of one of its own packets; what came back and who
//! sent it; a listener that is seen to be full; and last the gap, which says something only where
//! nothing could have been missed.

use crate::{
    attempts::attempt::{Attempt, Reply, Step},
    node::{
        counters::name as counters,
        listener::{ListenerFacts, ListenerState},
        listeners::Listener,
        syn_queue::Room,
    },
    record::{
        Confidence::{self, Confirmed, Likely, Possible},
        Direction, Outcome, Point, Verdict,
    },
};

/// What the ladder alone does not say.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// What keeps probes from seeing everything in the watched namespaces, a sentence each.
    pub blind_spots: Vec<String>,
    /// Events lost since before the attempt's first packet.
    pub lost: u64,
    /// What is known of the interface of the last hop.
    pub last_interface: Option<Interface>,
    /// Whether the destination is an address of the last hop's namespace.
    pub destination_is_local: bool,
    /// The listeners that the SYN was for, where their namespace was found and looked at.
    pub listener: Option<ListenerFacts>,
}

/// What is known of an interface.
#[derive(Debug, Clone)]
pub struct Interface {
    /// What it is: `physical`, `veth`, `tun`, …
    pub kind: String,
    /// Whether what goes out by it leaves this node.
    pub leads_off: bool,
}

/// Judges an attempt whose outcome is known; `None` where there is nothing to judge.
pub fn judge(attempt: &Attempt, outcome: Outcome, around: &Surroundings) -> Option<Verdict> {
    if outcome == Outcome::Answered {
        return None;
    }
    let mut evidence = ladder(attempt);
    if let Some(drop) = attempt.deciding_drop(outcome) {
        evidence.extend(drop.verdict.evidence.iter().cloned());
        return Some(Verdict {
            evidence,
            ..drop.verdict.clone()
        });
    }
    let (point, confidence, why) = match outcome {
        Outcome::Answered => return None,
        Outcome::Refused => refused(attempt),
        Outcome::Rejected => rejected(attempt),
        Outcome::Stalled => stalled(attempt, &mut evidence),
        Outcome::Unanswered => unanswered(attempt, around, &mut evidence),
    };
    Some(Verdict {
        point,
        confidence,
        why,
        evidence,
        fix: Vec::new(),
        policy: None,
    })
}

type Judgement = (Point, Confidence, String);

/// Who sent what came back.
pub fn sender(attempt: &Attempt) -> Option<String> {
    let first = attempt.reply_hops.first()?;
    match attempt.reply.as_ref()? {
        Reply::Answer(_) => None,
        Reply::Rejection(rejection) => Some(if attempt.reply_is_local() {
            format!("{} (this node)", rejection.from)
        } else {
            format!("{}", rejection.from)
        }),
        Reply::Reset if !attempt.reply_is_local() => {
            Some(format!("the far end, in by {}", first.place.ifname))
        }
        Reply::Reset => Some("this node".to_owned()),
    }
}

fn refused(attempt: &Attempt) -> Judgement {
    let who = sender(attempt).unwrap_or_else(|| "somebody".to_owned());
    if attempt.reply_is_local() {
        return (
            Point::Socket,
            Possible,
            "a RST was made in the last namespace that saw the SYN: nobody listens there, or a \
             rule rejects with tcp reset"
                .to_owned(),
        );
    }
    (
        Point::Socket,
        Likely,
        format!("the connection was refused with a RST by {who}: most often a closed port"),
    )
}

fn rejected(attempt: &Attempt) -> Judgement {
    let Some(Reply::Rejection(rejection)) = &attempt.reply else {
        return (
            Point::Unknown,
            Possible,
            "rejected, by whom was not seen".to_owned(),
        );
    };
    let who = sender(attempt).unwrap_or_else(|| rejection.from.to_string());
    let [kind, code] = rejection.icmp;
    match (rejection.v6, kind, code) {
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => (
            Point::Firewall,
            Likely,
            format!("{who} says: administratively prohibited"),
        ),
        (false, 3, 1) | (true, 1, 3) => (
            Point::Endpoint,
            Likely,
            format!("{who} says: host unreachable, nobody answers at that address"),
        ),
        (false, 3, 0) | (true, 1, 0) => (
            Point::Route,
            Likely,
            format!("{who} says: no route to that network"),
        ),
        (false, 3, 3) | (true, 1, 4) if attempt.is_told_by_destination(rejection) => (
            Point::Socket,
            Likely,
            format!(
                "{who} says: port unreachable, nobody listens there (or a rule of that host rejects)"
            ),
        ),
        (false, 3, 3) | (true, 1, 4) => (
            Point::Unknown,
            Possible,
            format!("{who} says: port unreachable; for TCP, that is a rule that rejects"),
        ),
        (false, 11, _) | (true, 3, _) => (
            Point::Route,
            Likely,
            format!("{who} says: time exceeded, a routing loop"),
        ),
        _ => (
            Point::Unknown,
            Possible,
            format!("{who} rejected it with ICMP type {kind} code {code}"),
        ),
    }
}

fn stalled(attempt: &Attempt, evidence: &mut Vec<String>) -> Judgement {
    let sent = attempt.retransmissions;
    let who = if sent.by_client {
        "the client"
    } else {
        "the server"
    };
    if sent.times > 0 {
        evidence.push(format!(
            "{who} sent {} bytes of payload again {} times; a full segment has {}",
            sent.len, sent.times, sent.mss
        ));
    }
    if let Some(too_big) = &attempt.too_big {
        evidence.push(format!("{} said \"too big\"", too_big.from));
    }
    let full = sent.len > 0 && sent.len >= sent.mss;
    if full {
        return (
            Point::Mtu,
            Possible,
            "the handshake is done, and full-size segments do not get through: a hop beyond those \
             seen may take less"
                .to_owned(),
        );
    }
    (
        Point::Unknown,
        Possible,
        "the handshake is done, and what follows does not get through".to_owned(),
    )
}

fn unanswered(attempt: &Attempt, around: &Surroundings, evidence: &mut Vec<String>) -> Judgement {
    if attempt.reply.is_some() {
        return lost_on_the_way_back(attempt, around, evidence);
    }
    let Some(last) = attempt.last_hop() else {
        return (
            Point::Unknown,
            Possible,
            "nothing was seen of it".to_owned(),
        );
    };
    if let Some(judgement) = listener(around, evidence) {
        return judgement;
    }
    let unsure = doubts(around);
    let Some(interface) = &around.last_interface else {
        evidence.extend(unsure);
        return unknown_gap(last, "what that interface leads to is not known");
    };
    match (last.place.dir, interface.leads_off) {
        (Direction::Out, true) if unsure.is_empty() => {
            evidence.push(format!(
                "{} is a {} interface that leads off this node; probes were on all interfaces, and \
                 0 events were lost",
                last.place.ifname, interface.kind
            ));
            evidence.push("no drop of it was seen on this node".to_owned());
            let to = match &last.outer {
                Some(outer) => format!(" inside a tunnel to {}", std::net::IpAddr::from(outer.dst)),
                None => String::new(),
            };
            (
                Point::OffNode,
                Likely,
                format!(
                    "it left this node by {}{to}, and nothing came back",
                    last.place.ifname
                ),
            )
        }
        (Direction::Out, true) => {
            evidence.extend(unsure);
            unknown_gap(
                last,
                "it may have been lost behind it, but this node was not seen whole",
            )
        }
        (Direction::Out, false) => {
            evidence.extend(unsure);
            unknown_gap(
                last,
                "what is behind that interface did not answer, and was not looked at",
            )
        }
        (Direction::In, _) if around.destination_is_local => {
            evidence.extend(unsure);
            unknown_gap(
                last,
                "that namespace has the destination's address, and sent no answer",
            )
        }
        (Direction::In, _) => {
            evidence.extend(unsure);
            unknown_gap(
                last,
                "it was not seen to leave again, and no drop of it was seen",
            )
        }
    }
}

fn unknown_gap(last: &Step, what: &str) -> Judgement {
    let Step { place, .. } = last;
    let verb = match place.dir {
        Direction::In => "came in by",
        Direction::Out => "went out by",
    };
    (
        Point::Unknown,
        Possible,
        format!("last seen when it {verb} {}: {what}", place.ifname),
    )
}

fn lost_on_the_way_back(
    attempt: &Attempt,
    around: &Surroundings,
    evidence: &mut Vec<String>,
) -> Judgement {
    let unsure = doubts(around);
    let what = match &attempt.reply {
        Some(Reply::Answer(None)) => "the SYN-ACK",
        Some(Reply::Answer(Some(_))) => "the DNS answer",
        Some(Reply::Reset) => "a RST",
        _ => "an ICMP error",
    };
    let last = attempt.last_reply_hop();
    let at = last.map_or("", |hop| &hop.place.ifname);
    let first = attempt.hops.first().map_or("", |hop| &hop.place.ifname);
    let left = last.is_some_and(|hop| hop.place.dir == Direction::Out);
    if let Some(interface) = &around.last_interface
        && left
        && interface.leads_off
        && unsure.is_empty()
    {
        evidence.push(format!(
            "{at} is a {} interface that leads off this node; probes were on all interfaces, and 0 \
             events were lost",
            interface.kind
        ));
        return (
            Point::OffNode,
            Likely,
            format!(
                "{what} left this node by {at}, and not by {first}, where the first packet was seen"
            ),
        );
    }
    evidence.extend(unsure);
    (
        Point::Unknown,
        Possible,
        format!(
            "{what} was last seen at {at} and never arrived at {first}, where the first packet was seen"
        ),
    )
}

/// The listener's own silence: a SYN that finds a queue full is dropped without a kfree_skb.
fn listener(around: &Surroundings, evidence: &mut Vec<String>) -> Option<Judgement> {
    let facts = around.listener.as_ref()?;
    let Some(state) = facts.accept_queue_full().or(facts.listeners.first()) else {
        evidence.push(format!(
            "nobody listens on {} in that namespace",
            facts.destination
        ));
        return None;
    };
    let name = listener_name(state);
    let Listener {
        accept_queue,
        backlog,
        ..
    } = state.listener;
    evidence.push(format!(
        "{name}: Recv-Q {accept_queue}, backlog (Send-Q) {backlog}, {} half-open",
        facts.syn_queue.len
    ));
    let overflows = facts.moved(counters::LISTEN_OVERFLOWS).unwrap_or(0);
    let drops = facts.moved(counters::LISTEN_DROPS).unwrap_or(0);
    if overflows + drops > 0 {
        evidence.push(format!(
            "in its namespace ListenOverflows moved by {overflows}, ListenDrops by {drops}"
        ));
    }
    if let Some(own) = state.new_drops {
        evidence.push(format!("the listener itself counted {own} drops meanwhile"));
    }
    // A listener's own count also moves for a SYN that is sent again while it is pending: only
    // together with the namespace's count does it mean a drop.
    let dropped = facts.dropped() == Some(true);
    let which = if state.listener.is_full() {
        "accept queue"
    } else if dropped && facts.syn_queue_room() == Some(Room::Dropped) {
        "SYN queue"
    } else {
        return None;
    };
    Some((
        Point::Listener,
        if dropped { Confirmed } else { Likely },
        format!("the {which} of {name} is full"),
    ))
}

fn listener_name(state: &ListenerState) -> String {
    let address = state.listener.address;
    match &state.process {
        Some(process) => format!(
            "the listener {address} of {} (pid {})",
            process.comm, process.pid
        ),
        None => format!("the listener {address}"),
    }
}

/// Why a negative cannot be claimed.
fn doubts(around: &Surroundings) -> Vec<String> {
    let mut doubts = around.blind_spots.clone();
    if around.lost > 0 {
        doubts.push(format!("{} events were lost meanwhile", around.lost));
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
        let times = attempt.openings();
        let times = if times == 1 {
            "once".to_owned()
        } else {
            format!("{times} times")
        };
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
