//! The engine in a world that a test can move: it plays the kernel and the node.

use super::*;

/// The engine in a world that a test can move.
pub(super) struct Rig {
    pub(super) engine: Engine,
    pub(super) now: Nanos,
    /// The kernel's exact counts.
    pub(super) counts: BTreeMap<u32, (DropKind, u64)>,
    pub(super) tallies: Tallies,
    /// What the kernel keeps of packets that did not match the filter.
    pub(super) early: Vec<EarlyHop>,
    /// Whether the node is asked for the ways of packets.
    pub(super) walks: bool,
    /// What is counted where packets end, by the node.
    pub(super) counted: Option<u64>,
    pub(super) asked: Vec<(QueryId, Query)>,
    pub(super) drops: Vec<DropReport>,
    pub(super) attempts: Vec<AttemptReport>,
    pub(super) lost: Vec<Lost>,
    pub(super) more: Vec<More>,
    pub(super) evicted: Vec<u32>,
    pub(super) summary: Option<Summary>,
    pub(super) stopped: bool,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(settings())
    }

    pub(super) fn with(settings: Settings) -> Self {
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

    pub(super) fn feed(&mut self, input: Input) {
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
    pub(super) fn is_silent(&self, query: &Query) -> bool {
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

    pub(super) fn read(&self, query: MapQuery) -> MapAnswer {
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

    pub(super) fn evict(&mut self, kinds: &[(DropKey, u64)]) {
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
    pub(super) fn pass(&mut self, time: Nanos) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK.min(end - self.now);
            self.feed(Input::Tick(self.tallies));
        }
    }

    /// Counts a drop, as the kernel does.
    pub(super) fn count(&mut self, facts: &DropFacts) -> u64 {
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
    pub(super) fn drop(&mut self, facts: DropFacts) {
        let count = self.count(&facts);
        self.feed(Input::Event(Event::Drop {
            facts: Box::new(facts),
            count,
        }));
    }

    /// Drops a packet without an event: the ring buffer is full.
    pub(super) fn drop_unseen(&mut self, facts: &DropFacts) {
        self.count(facts);
        self.tallies.lost += 1;
    }

    pub(super) fn see(&mut self, ifindex: u32, dir: Direction, flow: Tuple, part: Part) {
        self.see_translated(ifindex, dir, (flow, None), part);
    }

    /// Sees a packet, with conntrack's original tuple.
    pub(super) fn see_translated(
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

    /// The client's SYN comes in from its pod and leaves through the NIC.
    pub(super) fn syn(&mut self) {
        let opens = || Part::Opens(AttemptKey::Tcp(ISN), None);
        self.see(VETH, Direction::In, flow(), opens());
        self.see(NIC, Direction::Out, flow(), opens());
    }

    /// The SYN-ACK comes in through the NIC, and reaches the client's pod.
    pub(super) fn syn_ack(&mut self) {
        let answers = || Part::Answers(AttemptKey::Tcp(ISN), None);
        self.see(NIC, Direction::In, flow().reversed(), answers());
        self.see(VETH, Direction::Out, flow().reversed(), answers());
    }

    /// A RST that was made on this node reaches the client's pod.
    pub(super) fn rst(&mut self) {
        let refuses = Part::Refuses(AttemptKey::Tcp(ISN), 0);
        self.see(VETH, Direction::Out, flow().reversed(), refuses);
    }

    /// The client sends a full segment again.
    pub(super) fn retransmit(&mut self) {
        self.feed(Input::Event(Event::Retransmit(retransmission(self.now))));
    }

    /// Answers the only open question.
    pub(super) fn answer(&mut self, answer: Option<Answer>) {
        let (id, _) = self.asked.remove(0);
        assert!(self.asked.is_empty(), "{:?}", self.asked);
        self.feed(Input::Answer(id, answer));
    }

    pub(super) fn finish(&mut self) -> Summary {
        self.feed(Input::Detached(self.tallies));
        self.feed(Input::Finish);
        self.summary.take().expect("the summary comes last")
    }

    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let attempts = self.attempts.iter();
        attempts.map(|attempt| attempt.outcome).collect()
    }

    pub(super) fn shown(&self) -> Vec<u64> {
        self.drops.iter().map(|drop| drop.count).collect()
    }
}
