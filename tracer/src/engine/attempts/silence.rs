//! What the node is asked before an attempt is judged by its silence: the listener that may have
//! dropped the SYN, the neighbor that the packet may wait for, the way that the node has for it, and
//! what became of it there.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
};

use super::{deadlines::Deadlines, table::Table};
use crate::{
    attempt::{Attempt, Step},
    decode::sighting::AttemptKey,
    engine::{
        MILLISECOND, Nanos, SECOND, interfaces::Interfaces, knowledge::Context, queries::Purpose,
    },
    model::{Direction, Flow, Hook, Outcome, Place, Point},
    net::{Kind, RouteKey, netns::NetnsRef},
    node::{
        bypass::Arrival,
        query::{
            ListenerBaseline, ListenerLocation, ListenerNetns, Query, SilenceFacts, SilenceQuery,
        },
        way::{Comparison, Counted, Packet, Start},
        world::LinkId,
    },
};

/// Questions to the node that may be open at once; further attempts are judged without.
pub(super) const MAX_OPEN: usize = 16;
/// Walks through the node in a second: each reads the rules of all namespaces on its way. In a storm
/// of attempts that get no answer, the others are judged without.
const WALKS: usize = 8;
/// The same before the timeout, to have something to compare with.
const EARLY_WALKS: usize = 4;
/// Namespaces on one attempt's way that are asked for their NAT.
const MAX_NAMESPACES: usize = 4;
/// How long after the timeout the node is asked: the first retransmission comes a second after the
/// SYN, and the default timeout is a second too.
const AFTER_TIMEOUT: Nanos = 150 * MILLISECOND;

/// The attempts that silence may judge.
#[derive(Debug)]
pub(super) struct SilenceChecks {
    timeout: Nanos,
    /// What was read before the timeout.
    baselines: HashMap<AttemptKey, ListenerBaseline>,
    /// When the node is to be asked.
    scheduled: Deadlines,
    /// When walks were asked for in the last second.
    walks: Pace,
    /// The same for walks before the timeout.
    early_walks: Pace,
    /// How often packets of attempts were seen when the node was asked for their ways.
    asked: HashMap<AttemptKey, u64>,
    /// What was counted then where they end, and how often the packet had been seen.
    counted: HashMap<AttemptKey, (Counted, u64)>,
}

/// When something was done in the last second.
#[derive(Debug, Default)]
struct Pace(VecDeque<Nanos>);

impl Pace {
    /// Whether it may be done once more, at most so often a second; then it is.
    fn allows(&mut self, most: usize, now: Nanos) -> bool {
        let long_ago = |at: &mut Nanos| now.saturating_sub(*at) >= SECOND;
        while self.0.pop_front_if(long_ago).is_some() {}
        let is_allowed = self.0.len() < most;
        self.0.extend(is_allowed.then_some(now));
        is_allowed
    }
}

impl SilenceChecks {
    pub(super) fn new(timeout: Nanos) -> Self {
        Self {
            timeout,
            baselines: HashMap::new(),
            scheduled: Deadlines::default(),
            walks: Pace::default(),
            early_walks: Pace::default(),
            asked: HashMap::new(),
            counted: HashMap::new(),
        }
    }

    /// Has the listener's namespace read, to compare with after the timeout.
    pub(super) fn take_baseline(&mut self, key: AttemptKey, table: &Table, cx: &mut Context<'_>) {
        if cx.queries.about_attempts() >= MAX_OPEN {
            return;
        }
        let attempt = table.get(&key).filter(|_| is_tcp(&key));
        let attempt = attempt.filter(|attempt| is_unexplained(attempt));
        let Some(attempt) = attempt else { return };
        if let Some(location) = silent_listener(attempt, cx.interfaces) {
            let key = key.clone();
            cx.ask(Purpose::Baseline(key), Query::ListenerBaseline(location));
        }
        let walk = walk(attempt, cx.interfaces);
        if walk.is_some() && self.early_walks.allows(EARLY_WALKS, cx.now) {
            self.asked.insert(key.clone(), seen(attempt));
            let query = SilenceQuery {
                walk,
                ..SilenceQuery::default()
            };
            cx.ask(Purpose::EarlyWalk(key), Query::Silence(Box::new(query)));
        }
    }

    /// Keeps what was counted where an attempt's packet ends, if none was sent meanwhile.
    pub(super) fn keep_count(&mut self, key: AttemptKey, facts: SilenceFacts, table: &Table) {
        let asked = self.asked.remove(&key);
        let seen = table
            .get(&key)
            .map(seen)
            .filter(|seen| asked == Some(*seen));
        let counted = facts.walked.and_then(|walked| walked.counted);
        if let Some((counted, seen)) = counted.zip(seen) {
            self.counted.insert(key, (counted, seen));
        }
    }

    /// Compares what was counted with what is counted now.
    pub(super) fn compare(
        &mut self,
        key: &AttemptKey,
        facts: &SilenceFacts,
        table: &Table,
    ) -> Option<Comparison> {
        let asked = self.asked.remove(key)?;
        let (earlier, before) = self.counted.remove(key)?;
        let seen = table.get(key).map(seen).filter(|seen| *seen == asked)?;
        let now = facts.walked.as_ref()?.counted.as_ref()?;
        now.since(&earlier, seen.checked_sub(before)?)
    }

    /// Keeps what was read.
    pub(super) fn keep(&mut self, key: AttemptKey, baseline: ListenerBaseline) {
        self.baselines.insert(key, baseline);
    }

    /// Evicts what was read for attempts that are decided by now.
    pub(super) fn forget_decided(&mut self, table: &Table) {
        let is_open = |key: &AttemptKey| {
            let attempt = table.get(key);
            attempt.is_some_and(|attempt| attempt.reported.is_none())
        };
        self.baselines.retain(|key, _| is_open(key));
        self.asked.retain(|key, _| is_open(key));
        self.counted.retain(|key, _| is_open(key));
    }

    /// Schedules the question about an attempt whose time is up, or asks it where nothing would
    /// change. Returns `false` if there is nothing to ask.
    pub(super) fn schedule(
        &mut self,
        key: &AttemptKey,
        table: &Table,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(attempt) = table.get(key) else {
            return false;
        };
        let Some(query) = query(key, attempt, None, cx.interfaces) else {
            return false;
        };
        if !query.may_change() {
            return self.ask(key, table, cx);
        }
        let timeout = attempt.first_at.saturating_add(self.timeout);
        self.scheduled
            .set(timeout.saturating_add(AFTER_TIMEOUT), key.clone());
        true
    }

    /// Has an attempt come up again a little later.
    pub(super) fn postpone(&mut self, key: AttemptKey, now: Nanos) {
        self.scheduled.set(now.saturating_add(AFTER_TIMEOUT), key);
    }

    /// The attempts about which the node is to be asked now.
    pub(super) fn due(&mut self, now: Nanos) -> Vec<AttemptKey> {
        self.scheduled.due(now)
    }

    /// Asks the node about an attempt. Returns `false` if there is nothing to ask, or too much was
    /// asked already.
    pub(super) fn ask(&mut self, key: &AttemptKey, table: &Table, cx: &mut Context<'_>) -> bool {
        let baseline = self.baselines.remove(key);
        if cx.queries.about_attempts() >= MAX_OPEN {
            return false;
        }
        let attempt = table.get(key);
        let query = attempt.and_then(|one| query(key, one, baseline, cx.interfaces));
        match query.map(|query| self.limited(query, cx.now)) {
            Some(query) if !query.is_empty() => {
                self.asked
                    .extend(attempt.map(|one| (key.clone(), seen(one))));
                let query = Query::Silence(Box::new(query));
                cx.ask(Purpose::Silence(key.clone()), query);
                true
            }
            _ => false,
        }
    }

    /// The question without a walk, if there were too many of late.
    fn limited(&mut self, query: SilenceQuery, now: Nanos) -> SilenceQuery {
        let walk = query.walk.filter(|_| self.walks.allows(WALKS, now));
        SilenceQuery { walk, ..query }
    }
}

fn is_tcp(key: &AttemptKey) -> bool {
    matches!(key, AttemptKey::Tcp(_))
}

/// What to ask about an attempt that got no answer.
fn query(
    key: &AttemptKey,
    attempt: &Attempt,
    baseline: Option<ListenerBaseline>,
    interfaces: &Interfaces,
) -> Option<SilenceQuery> {
    if let Some(answer) = answer_elsewhere(attempt, interfaces) {
        return Some(SilenceQuery {
            answer: Some(answer),
            ..SilenceQuery::default()
        });
    }
    is_unexplained(attempt).then_some(())?;
    let location = Some(attempt)
        .filter(|_| is_tcp(key))
        .and_then(|attempt| silent_listener(attempt, interfaces));
    let neighbor = match location {
        Some(_) => None,
        None => silent_neighbor(attempt, interfaces),
    };
    let query = SilenceQuery {
        listener: location.map(|location| (location, baseline)),
        neighbor,
        walk: walk(attempt, interfaces),
        arrivals: arrivals(attempt, interfaces),
        datagrams: Some(attempt)
            .filter(|_| !is_tcp(key))
            .and_then(|attempt| delivered_to(attempt, interfaces)),
        left_by: attempt.last_hop().and_then(left_by),
        answer: None,
        encrypted: attempt
            .last_hop()
            .and_then(|last| encrypted_by(last, interfaces)),
    };
    (!query.is_empty()).then_some(query)
}

/// An answer that left through another interface than its question came by, where no drop explains that it
/// did not arrive: the namespace, what its route is looked up by, and the interface.
fn answer_elsewhere(attempt: &Attempt, interfaces: &Interfaces) -> Option<(u32, RouteKey, u32)> {
    attempt.reply.as_ref()?;
    let is_unseen = attempt.deciding_drop(Outcome::Unanswered).is_none();
    let last = attempt.last_reply_hop().filter(|_| is_unseen)?;
    let Place { netns, ifindex, .. } = last.place;
    let mut questions = attempt.hops.iter();
    let is_elsewhere = last.place.dir == Direction::Out
        && !questions.any(|hop| hop.place.is_reverse_of(&last.place));
    is_elsewhere.then_some(())?;
    let came_in = attempt.reply_hops.iter().rev();
    let mut came_in = came_in.filter(|hop| {
        hop.place.dir == Direction::In && hop.place.netns == netns && hop.at <= last.at
    });
    let iif = came_in.next().map(|hop| hop.place.ifindex);
    let src = IpAddr::from(last.flow.src);
    (iif.is_some() || interfaces.is_local(netns, src)).then_some(())?;
    let flow = Flow::from(&last.flow);
    let key = RouteKey {
        src: Some(src),
        iif,
        proto: Some(flow.proto.number()),
        sport: flow.sport,
        dport: flow.dport,
        ..RouteKey::to(flow.dst)
    };
    Some((netns, key, ifindex))
}

/// Whether nothing was seen yet that explains the silence.
fn is_unexplained(attempt: &Attempt) -> bool {
    let decided = attempt.deciding_drop(Outcome::Unanswered);
    attempt.reply.is_none() && decided.is_none_or(|drop| drop.verdict.point == Point::Unknown)
}

/// How often the opening packet was seen at the last place that it came to.
fn seen(attempt: &Attempt) -> u64 {
    attempt.last_hop().map_or(0, |hop| hop.times)
}

/// The packet as it was first seen, and where that was. `None` where its way began elsewhere, or it
/// was in a tunnel.
fn walk(attempt: &Attempt, interfaces: &Interfaces) -> Option<(Start, Packet)> {
    let first = attempt.hops.first().filter(|hop| hop.outer.is_none())?;
    let Place { netns, ifindex, .. } = first.place;
    let start = match first.place.dir {
        Direction::In => Start::In(LinkId { netns, ifindex }),
        Direction::Out if interfaces.is_local(netns, first.flow.src.into()) => Start::Sent(netns),
        Direction::Out => return None,
    };
    Some((start, Packet::first_of(Flow::from(&first.flow))))
}

/// Where a listener may have been silent: in the namespace that has the SYN's destination. `None`
/// where no such namespace is near.
fn silent_listener(attempt: &Attempt, interfaces: &Interfaces) -> Option<ListenerLocation> {
    if let Some((netns, address)) = delivered_to(attempt, interfaces) {
        let netns = ListenerNetns::Known(netns);
        return Some(ListenerLocation { netns, address });
    }
    let last = attempt.last_hop()?;
    let interface = interfaces.get(last.place.netns, last.place.ifindex)?;
    let may_be_behind = last.place.dir == Direction::Out && !interface.is_uplink;
    may_be_behind.then(|| ListenerLocation {
        // Other interfaces than a veth, such as a bridge, have no other end.
        netns: ListenerNetns::Behind(interface.link.peer().map(|peer| peer.ifindex)),
        address: destination(last),
    })
}

/// The namespace that a packet was last seen in, if that has its destination, and the destination.
fn delivered_to(attempt: &Attempt, interfaces: &Interfaces) -> Option<(NetnsRef, SocketAddr)> {
    let last = attempt.last_hop()?;
    let address = destination(last);
    interfaces
        .is_local(last.place.netns, address.ip())
        .then_some((NetnsRef::Inode(last.place.netns), address))
}

fn destination(last: &Step) -> SocketAddr {
    SocketAddr::new(last.flow.dst.into(), last.flow.dport)
}

/// The next hop of a packet that came in and was not seen to leave: where it is asked for, and how.
fn silent_neighbor(attempt: &Attempt, interfaces: &Interfaces) -> Option<(NetnsRef, RouteKey)> {
    let last = attempt.last_hop()?;
    let destination = IpAddr::from(last.flow.dst);
    let waits =
        last.place.dir == Direction::In && !interfaces.is_local(last.place.netns, destination);
    waits.then(|| {
        let packet = RouteKey {
            src: Some(last.flow.src.into()),
            iif: Some(last.place.ifindex),
            proto: Some(last.flow.proto),
            sport: Some(last.flow.sport),
            dport: Some(last.flow.dport),
            ..RouteKey::to(destination)
        };
        (NetnsRef::Inode(last.place.netns), packet)
    })
}

/// The interface that it was last seen to leave through.
fn left_by(last: &Step) -> Option<(u32, u32)> {
    let is_out = last.place.dir == Direction::Out;
    is_out.then_some((last.place.netns, last.place.ifindex))
}

/// The WireGuard device that it was last seen to leave through, and its destination.
fn encrypted_by(last: &Step, interfaces: &Interfaces) -> Option<(u32, u32, IpAddr)> {
    let (netns, ifindex) = left_by(last)?;
    let interface = interfaces.get(netns, ifindex)?;
    let is_wireguard = interface.link.kind == Kind::Wireguard;
    is_wireguard.then_some((netns, ifindex, last.flow.dst.into()))
}

/// How it came to each namespace that it was seen in, where it was not seen to arrive.
fn arrivals(attempt: &Attempt, interfaces: &Interfaces) -> Vec<(u32, Arrival)> {
    let mut found: Vec<(u32, Arrival)> = Vec::new();
    let has_arrived = attempt
        .last_hop()
        .is_some_and(|last| interfaces.is_local(last.place.netns, last.flow.dst.into()));
    if has_arrived {
        return found;
    }
    for hop in &attempt.hops {
        let netns = hop.place.netns;
        if found.iter().any(|(known, _)| *known == netns) || found.len() == MAX_NAMESPACES {
            continue;
        }
        let is_sent = hop.place.dir == Direction::Out;
        let is_first = found.is_empty();
        let interface = interfaces.get(netns, hop.place.ifindex);
        let is_port = interface.is_none_or(|interface| interface.link.master.is_some());
        // What was sent from here has passed OUTPUT when it is seen.
        let sent = attempt.original.as_ref().filter(|_| is_sent && is_first);
        let arrival = Arrival {
            hook: if is_sent {
                Hook::Output
            } else {
                Hook::Prerouting
            },
            // Rules see the bridge where a packet comes in through one of its ports.
            ifname: (!is_port).then(|| hop.place.ifname.clone()),
            flow: Flow::from(sent.unwrap_or(&hop.flow)),
        };
        found.push((netns, arrival));
    }
    found
}
