//! The engine's timing rules, driven by inputs alone.
//!
//! [`Rig`] plays the kernel and the node: it keeps the counts that the kernel would, and the
//! questions that the node would be asked.

mod attempts;
mod drops;
mod late;
mod losses;
mod path_mtu;
mod ways;
mod work;

use std::{collections::BTreeMap, time::SystemTime};

use tracer_common::{
    address::Address,
    event::{DropKey, EarlyHop, RetransmitEvent, direction, kind},
    packet::{Tcp, protocol},
    tuple::Tuple,
};

use super::{
    DropOptions, Effect, Engine, FilterNames, Input, MILLISECOND, MapAnswer, MapQuery, Nanos,
    QueryId, Settings,
};
use crate::{
    cli::Proto,
    decode::{
        drop::{DropFacts, DropKind},
        event::Event,
        sighting::{AttemptKey, Part, Sighting},
    },
    kernel::clock,
    model::{
        AttemptReport, Direction, DropReport, Lost, More, Outcome, Place, Report, Summary, Tallies,
    },
    net::{Change, Interface, Link},
    node::query::{Answer, Query},
};

/// The default timeout.
pub(super) const TIMEOUT: Nanos = 1_000 * MILLISECOND;
/// When the first packet of a test is seen.
const START: Nanos = 10_000 * MILLISECOND;
const TICK: Nanos = 100 * MILLISECOND;
/// The host's namespace.
const HOST: u32 = 1;
/// Interfaces of it: a pod's veth and a NIC.
const VETH: u32 = 2;
const NIC: u32 = 3;
/// Initial sequence number of the client.
const ISN: u32 = 1_000;
/// Initial sequence number of the server.
const SERVER_ISN: u32 = 5_000_000;

pub(super) fn settings() -> Settings {
    Settings {
        drops: DropOptions {
            noise: false,
            stack: false,
            by_port_alone: false,
            limit: None,
            capacity: 4,
        },
        attempts: 1 << 10,
        timeout: TIMEOUT,
        names: FilterNames::of(None, None, Proto::Any),
        blind_spots: Vec::new(),
        node: None,
        most_records: None,
        clock: clock::now(),
    }
}

/// The engine in a world that a test can move.
struct Rig {
    engine: Engine,
    now: Nanos,
    /// The kernel's exact counts.
    counts: BTreeMap<u32, (DropKind, u64)>,
    tallies: Tallies,
    /// What the kernel keeps of packets that did not match the filter.
    early: Vec<EarlyHop>,
    /// Whether the node is asked for the ways of packets.
    walks: bool,
    /// What is counted where packets end, by the node.
    counted: Option<u64>,
    asked: Vec<(QueryId, Query)>,
    drops: Vec<DropReport>,
    attempts: Vec<AttemptReport>,
    lost: Vec<Lost>,
    more: Vec<More>,
    evicted: Vec<u32>,
    summary: Option<Summary>,
    stopped: bool,
}

impl Rig {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: Settings) -> Self {
        let mut rig = Self {
            engine: Engine::new(settings),
            now: START,
            counts: BTreeMap::new(),
            tallies: Tallies::default(),
            early: Vec::new(),
            walks: false,
            counted: None,
            asked: Vec::new(),
            drops: Vec::new(),
            attempts: Vec::new(),
            lost: Vec::new(),
            more: Vec::new(),
            evicted: Vec::new(),
            summary: None,
            stopped: false,
        };
        let interfaces = [(VETH, false), (NIC, true)]
            .map(|(ifindex, is_uplink)| Change::Appeared(interface(ifindex, is_uplink)));
        rig.feed(Input::Interfaces(interfaces.into()));
        rig
    }

    fn feed(&mut self, input: Input) {
        for effect in self.engine.handle(input, self.now) {
            match effect {
                Effect::Ask(id, query) if self.is_silent(&query) => {
                    self.feed(Input::Answer(id, None));
                }
                Effect::Ask(id, query) => self.asked.push((id, query)),
                Effect::Read(query) => {
                    let answer = self.read(query);
                    self.feed(Input::Map(answer));
                }
                Effect::Forget(kinds) => self.evict(&kinds),
                Effect::Report(Report::Drop(drop)) => self.drops.push(*drop),
                Effect::Report(Report::Attempt(attempt)) => self.attempts.push(*attempt),
                Effect::Report(Report::Lost(lost)) => self.lost.push(lost),
                Effect::Report(Report::More(more)) => self.more.push(more),
                Effect::Report(Report::Summary(summary)) => self.summary = Some(*summary),
                Effect::Report(
                    Report::Started(_)
                    | Report::Path(_)
                    | Report::Tick(_)
                    | Report::Plan(_)
                    | Report::Layer(_),
                ) => unreachable!("the shell's"),
                Effect::Stop => self.stopped = true,
                Effect::Members { .. } | Effect::Crowd(_) | Effect::Note(_) => {}
            }
        }
    }

    /// Whether the node cannot answer: what it has for a packet's way is asked of attempts that no
    /// test is about.
    fn is_silent(&self, query: &Query) -> bool {
        match query {
            // A look before the timeout, which asks for the way only.
            Query::Silence(query) if query.walk.is_some() && query.arrivals.is_empty() => {
                self.counted.is_none()
            }
            Query::Silence(query) => !self.walks && !query.may_change(),
            Query::Translation(_) | Query::Unread(_) => true,
            _ => false,
        }
    }

    fn read(&self, query: MapQuery) -> MapAnswer {
        let count = |key: &DropKey| self.counts.get(&key.reason).map_or(0, |(_, count)| *count);
        match query {
            MapQuery::Counts(kinds) => {
                MapAnswer::Counts(kinds.iter().map(|key| (*key, count(key))).collect())
            }
            MapQuery::AllCounts { .. } => {
                MapAnswer::AllCounts(self.counts.values().cloned().collect())
            }
            MapQuery::EarlyHops(key) => MapAnswer::EarlyHops(key, self.early.clone()),
        }
    }

    fn evict(&mut self, kinds: &[(DropKey, u64)]) {
        let evicted: Vec<_> = kinds
            .iter()
            .filter(|(key, reported)| self.counts[&key.reason].1 == *reported)
            .map(|(key, _)| *key)
            .collect();
        for key in &evicted {
            self.counts.remove(&key.reason);
            self.evicted.push(key.reason);
        }
        self.feed(Input::Map(MapAnswer::Forgotten(evicted)));
    }

    /// Lets time pass, with the ticks in it.
    fn pass(&mut self, time: Nanos) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK.min(end - self.now);
            self.feed(Input::Tick(self.tallies));
        }
    }

    /// Counts a drop, as the kernel does.
    fn count(&mut self, facts: &DropFacts) -> u64 {
        let kind = DropKind {
            key: facts.key,
            reason: facts.reason.clone(),
            function: facts.function.clone(),
        };
        let counted = self.counts.entry(facts.key.reason).or_insert((kind, 0));
        counted.1 += 1;
        counted.1
    }

    /// Drops a packet.
    fn drop(&mut self, facts: DropFacts) {
        let count = self.count(&facts);
        self.feed(Input::Event(Event::Drop {
            facts: Box::new(facts),
            count,
        }));
    }

    /// Drops a packet without an event: the ring buffer is full.
    fn drop_unseen(&mut self, facts: &DropFacts) {
        self.count(facts);
        self.tallies.lost += 1;
    }

    fn see(&mut self, ifindex: u32, dir: Direction, flow: Tuple, part: Part) {
        self.see_translated(ifindex, dir, (flow, None), part);
    }

    /// Sees a packet, with conntrack's original tuple.
    fn see_translated(
        &mut self,
        ifindex: u32,
        dir: Direction,
        (flow, original): (Tuple, Option<Tuple>),
        part: Part,
    ) {
        let sighting = Sighting {
            at: self.now,
            place: place(ifindex, dir),
            flow,
            outer: None,
            vni: None,
            original,
            seq: match part {
                Part::Opens(AttemptKey::Tcp(isn), _) => Some(isn),
                Part::Answers(..) => Some(SERVER_ISN),
                _ => None,
            },
            part,
        };
        self.feed(Input::Event(Event::Sighting(Box::new(sighting))));
    }

    /// The client's SYN comes in from its pod and leaves by the NIC.
    fn syn(&mut self) {
        let opens = || Part::Opens(AttemptKey::Tcp(ISN), None);
        self.see(VETH, Direction::In, flow(), opens());
        self.see(NIC, Direction::Out, flow(), opens());
    }

    /// The SYN-ACK comes in by the NIC, and reaches the client's pod.
    fn syn_ack(&mut self) {
        let answers = || Part::Answers(AttemptKey::Tcp(ISN), None);
        self.see(NIC, Direction::In, flow().reversed(), answers());
        self.see(VETH, Direction::Out, flow().reversed(), answers());
    }

    /// A RST that was made on this node reaches the client's pod.
    fn rst(&mut self) {
        let refuses = Part::Refuses(AttemptKey::Tcp(ISN), 0);
        self.see(VETH, Direction::Out, flow().reversed(), refuses);
    }

    /// The client sends a full segment again.
    fn retransmit(&mut self) {
        self.feed(Input::Event(Event::Retransmit(retransmission(self.now))));
    }

    /// Answers the only open question.
    fn answer(&mut self, answer: Option<Answer>) {
        let (id, _) = self.asked.remove(0);
        assert!(self.asked.is_empty(), "{:?}", self.asked);
        self.feed(Input::Answer(id, answer));
    }

    fn finish(&mut self) -> Summary {
        self.feed(Input::Detached(self.tallies));
        self.feed(Input::Finish);
        self.summary.take().expect("the summary comes last")
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let attempts = self.attempts.iter();
        attempts.map(|attempt| attempt.outcome).collect()
    }

    fn shown(&self) -> Vec<u64> {
        self.drops.iter().map(|drop| drop.count).collect()
    }
}

fn interface(ifindex: u32, is_uplink: bool) -> Interface {
    Interface {
        netns: HOST,
        link: Link {
            ifindex,
            name: ifname(ifindex),
            ..Link::default()
        },
        addresses: Vec::new(),
        is_uplink,
    }
}

fn ifname(ifindex: u32) -> String {
    format!("eth{ifindex}")
}

fn place(ifindex: u32, dir: Direction) -> Place {
    Place {
        netns: HOST,
        ifindex,
        ifname: ifname(ifindex),
        mtu: 1500,
        dir,
    }
}

/// From the client to the server.
fn flow() -> Tuple {
    Tuple {
        src: Address::v4([10, 0, 0, 1]),
        dst: Address::v4([192, 0, 2, 2]),
        sport: 40_000,
        dport: 80,
        proto: protocol::TCP,
        flags: Tuple::HAS_PORTS,
        reserved: [0; 2],
    }
}

/// The client sends a full segment again.
fn retransmission(at: Nanos) -> RetransmitEvent {
    RetransmitEvent {
        kind: kind::RETRANSMIT,
        at,
        flow: flow(),
        netns: HOST,
        seq: ISN + 1,
        len: 1_460,
        mss: 1_460,
        state: 1,
        reserved: 0,
    }
}

/// A drop of a packet that belongs to no attempt. Drops are alike if `reason` is the same number.
fn drop_of(reason: u32, name: &str) -> DropFacts {
    let kind = DropKind {
        key: DropKey {
            flow: flow(),
            reason,
            netns: HOST,
            ..DropKey::default()
        },
        reason: name.into(),
        function: Some("kfree".to_owned()),
    };
    kind.facts(SystemTime::UNIX_EPOCH)
}

/// A drop of the client's SYN.
fn syn_drop(reason: u32, name: &str) -> DropFacts {
    DropFacts {
        tcp: Some(Tcp {
            seq: ISN,
            ack: 0,
            flags: Tcp::SYN,
            payload: 0,
        }),
        ..drop_of(reason, name)
    }
}

/// A drop of the client's first segment behind the handshake.
fn ack_drop(reason: u32, name: &str) -> DropFacts {
    DropFacts {
        tcp: Some(Tcp {
            seq: ISN + 1,
            ack: 1,
            flags: Tcp::ACK,
            payload: 5,
        }),
        ..drop_of(reason, name)
    }
}
