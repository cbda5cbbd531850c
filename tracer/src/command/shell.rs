//! The engine's shell: it hands in what happens, and does what the engine wants done.

use std::{
    io::{self, Stdout},
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tokio::time::timeout;
use tracer_common::{
    event::{self, EarlyHop},
    filter::Member,
};

use super::{node_queries::NodeQueries, watchdog};
use crate::{
    cli::filter,
    cluster::resolve::Socket,
    decode::{drop::Decoder, event::Event},
    engine::{Effect, Engine, Input, MapAnswer, MapQuery, Nanos},
    kernel::{
        clock::monotonic_nanos,
        probes::{EventStream, Probes},
    },
    model::{Report, Started, Tallies, Tick},
    net::netns::NetnsNames,
    sink::{self, Delivery, Printer, Terminal},
};

/// At the end: how long events are read on that have waited in a flood. The others count as lost.
const READS_ON: Duration = Duration::from_millis(300);
/// At the end: how long drops wait for what the node says. The user has pressed Ctrl-C.
const AWAITS_NODE: Duration = Duration::from_millis(400);

/// How long nothing happens in an idle trace.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Where the reports of a trace go.
pub(super) trait Outlet {
    /// Takes a report.
    fn print(&mut self, report: &Report) -> io::Result<Delivery>;

    /// Shows what is due by now.
    fn tick(&mut self, now: SystemTime) -> io::Result<Delivery>;

    /// Goes on below what the terminal has written of a signal's key.
    fn interrupted(&mut self) -> io::Result<Delivery>;

    /// Follows a terminal that was resized.
    fn resize(&mut self, columns: Option<usize>);
}

impl Outlet for Printer<Stdout> {
    fn print(&mut self, report: &Report) -> io::Result<Delivery> {
        Self::print(self, report)
    }

    fn tick(&mut self, now: SystemTime) -> io::Result<Delivery> {
        Self::tick(self, now)
    }

    fn interrupted(&mut self) -> io::Result<Delivery> {
        Self::interrupted(self)
    }

    fn resize(&mut self, columns: Option<usize>) {
        Self::resize(self, columns);
    }
}

/// The engine, and what it needs of the outside world.
pub(super) struct Shell {
    pub(super) engine: Engine,
    probes: Probes,
    decoder: Decoder,
    netns: NetnsNames,
    pub(super) queries: NodeQueries,
    outlet: Box<dyn Outlet>,
    /// What is to come with the start of the trace; `None` after it.
    notes: Option<Vec<String>>,
    /// How long a handshake may take before its events are read.
    patience: Nanos,
    /// The early hops of the handshake whose events are being handed in, and its key.
    early: Option<(u64, Vec<EarlyHop>)>,
    /// How long nothing may be reported before a tick is.
    ticks: Option<Duration>,
    /// When something was reported last.
    reported: Instant,
    /// When something happened last.
    active: Instant,
    /// Whether the trace is to end: `--count` is reached, or the output has no reader any more.
    pub(super) ended: bool,
}

impl Shell {
    pub(super) fn new(
        engine: Engine,
        probes: Probes,
        decoder: Decoder,
        outlet: Box<dyn Outlet>,
        patience: Nanos,
        ticks: Option<Duration>,
    ) -> Self {
        Self {
            engine,
            probes,
            decoder,
            netns: NetnsNames::read(),
            queries: NodeQueries::default(),
            outlet,
            patience,
            early: None,
            notes: Some(Vec::new()),
            ticks,
            reported: Instant::now(),
            active: Instant::now(),
            ended: false,
        }
    }

    /// Hands in one input, and carries out its effects.
    pub(super) fn feed(&mut self, input: Input) -> Result<()> {
        if !matches!(input, Input::Tick(_) | Input::ReadUntil(_)) {
            self.active = Instant::now();
        }
        for effect in self.engine.handle(input, monotonic_nanos()) {
            match effect {
                Effect::Ask(id, query) => self.queries.ask(id, query),
                Effect::Read(query) => {
                    let answer = self.read(query);
                    self.feed(Input::Map(answer))?;
                }
                Effect::Forget(kinds) => {
                    let probes = &mut self.probes;
                    let gone = kinds
                        .into_iter()
                        .filter_map(|(key, reported)| probes.forget(&key, reported).then_some(key));
                    let gone = gone.collect();
                    self.feed(Input::Map(MapAnswer::Forgotten(gone)))?;
                }
                Effect::Crowd(is_crowded) => self.probes.crowd(is_crowded)?,
                Effect::Members { put, gone } => self.probes.change_members(put, gone)?,
                Effect::Report(report) => self.print(&report)?,
                Effect::Note(note) => self.note(note),
                Effect::Stop => self.ended = true,
            }
        }
        Ok(())
    }

    fn read(&self, query: MapQuery) -> MapAnswer {
        match query {
            MapQuery::Counts(kinds) => MapAnswer::Counts(
                kinds
                    .into_iter()
                    .map(|key| (key, self.probes.count(&key)))
                    .collect(),
            ),
            MapQuery::AllCounts { until } => {
                let counts = self
                    .probes
                    .counts()
                    .filter(|(_, found)| found.window <= until);
                let counts = counts.map(|(key, found)| (self.decoder.kind(&key), found.count));
                MapAnswer::AllCounts(counts.collect())
            }
            MapQuery::EarlyHops(key) => {
                let handshake = key.handshake();
                let early = match &self.early {
                    Some((of, early)) if *of == handshake => early.clone(),
                    _ => self.probes.early_hops(handshake),
                };
                MapAnswer::EarlyHops(key, early)
            }
        }
    }

    /// Hands in a batch of events.
    pub(super) fn events(&mut self, batch: &[Bytes]) -> Result<()> {
        for record in batch {
            if let Some(key) = event::released(record) {
                let events = self.probes.released(key);
                self.held(&events)?;
                continue;
            }
            let Some(event) = self.decoder.decode(record)? else {
                continue;
            };
            let netns = match &event {
                Event::Drop { facts, .. } => facts.netns,
                Event::Sighting(sighting) => Some(sighting.place.netns),
                Event::Retransmit(_) => None,
                Event::Connect(failed) => Some(failed.about.netns),
            };
            if let Some(inode) = netns {
                self.netns.look_for(inode);
            }
            self.feed_names()?;
            self.feed(Input::Event(event))?;
        }
        Ok(())
    }

    /// Hands in the events of a handshake that was held.
    fn held(&mut self, events: &[Bytes]) -> Result<()> {
        let early = events.iter().find_map(|event| event::early_hops(event));
        self.early = early.map(|early| (early.key, early.hops.of(early.key).copied().collect()));
        let result = self.events(events);
        self.early = None;
        result
    }

    /// Hands in all handshakes that are not over: the trace is about to end.
    pub(super) fn unfinished(&mut self) -> Result<()> {
        self.overdue(Nanos::MAX)
    }

    /// Hands in the handshakes that began no later than `until` and are not over.
    fn overdue(&mut self, until: Nanos) -> Result<()> {
        for events in self.probes.overdue(until) {
            self.held(&events)?;
        }
        Ok(())
    }

    /// Looks for events before the clock decides anything: what has decided an attempt may wait here, if
    /// the last batch took long. Says up to when all of them are read.
    fn catch_up(&mut self, events: &mut EventStream) -> Result<()> {
        let looked = monotonic_nanos();
        let batch = events.take_ready();
        self.events(&batch)?;
        let waits_behind = batch.last().filter(|_| EventStream::is_full(&batch));
        let until = match waits_behind {
            Some(last) => event::time_of(last),
            None => Some(looked),
        };
        self.feed(Input::ReadUntil(until))
    }

    /// Does what has to be done from time to time.
    pub(super) fn tick(&mut self, events: &mut EventStream) -> Result<()> {
        self.catch_up(events)?;
        self.overdue(monotonic_nanos().saturating_sub(self.patience))?;
        self.netns.refresh_named();
        self.feed_names()?;
        self.outlet.resize(Terminal::stdout_width());
        self.write(|outlet| outlet.tick(SystemTime::now()))?;
        self.ended |= Terminal::stdout_has_no_reader();
        self.feed(Input::Tick(self.probes.tallies()))?;
        let silent = self.reported.elapsed();
        if self.notes.is_none() && self.ticks.is_some_and(|most| silent >= most) {
            self.print(&Report::Tick(Tick {
                ts: SystemTime::now(),
                lost: self.engine.lost(),
            }))?;
        }
        Ok(())
    }

    /// Whether nothing has happened for a while.
    pub(super) fn is_idle(&self) -> bool {
        self.active.elapsed() >= IDLE_AFTER
    }

    /// Has the filter match packets to any port of these addresses, and from those.
    pub(super) fn follow(&mut self, to: &[IpAddr], from: &[IpAddr]) -> Result<()> {
        let sides = [(Member::TO, to), (Member::FROM, from)];
        let mut entries = Vec::new();
        for (side, addresses) in sides {
            let any_port = |ip: &IpAddr| Socket {
                ip: *ip,
                port: None,
            };
            let sockets = addresses.iter().map(any_port).collect();
            entries.extend(filter::entries(side, &sockets));
        }
        self.probes.change_members(entries, Vec::new())
    }

    fn feed_names(&mut self) -> Result<()> {
        let news = self.netns.take_news();
        if news.is_empty() {
            return Ok(());
        }
        self.feed(Input::Netns(news))
    }

    /// Everything is attached.
    pub(super) fn started(&mut self, mut started: Started) -> Result<()> {
        started
            .degraded
            .extend(self.notes.take().into_iter().flatten());
        self.print(&Report::Started(Box::new(started)))
    }

    /// Says what belongs to no record: with the start, and on stderr after it.
    pub(super) fn note(&mut self, note: String) {
        match &mut self.notes {
            Some(notes) => notes.push(note),
            None => sink::note(&note),
        }
    }

    /// Says what was to come with the start of the trace, which does not come.
    pub(super) fn flush_notes(&mut self) {
        for note in self.notes.take().into_iter().flatten() {
            sink::note(&note);
        }
    }

    /// A signal has ended the trace.
    pub(super) fn interrupted(&mut self) -> Result<()> {
        self.write(|outlet| outlet.interrupted())
    }

    fn print(&mut self, report: &Report) -> Result<()> {
        self.reported = Instant::now();
        self.write(|outlet| outlet.print(report))
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Outlet) -> io::Result<Delivery>) -> Result<()> {
        let outlet = self.outlet.as_mut();
        let delivery = watchdog::watched(|| write(outlet)).context("cannot write the output")?;
        self.ended |= delivery == Delivery::ReaderGone;
        Ok(())
    }

    /// Stops the programs, reads what is left, and accounts for everything.
    pub(super) async fn finish(mut self, events: &mut EventStream) -> Result<()> {
        self.probes.detach();
        self.unfinished()?;
        let (begun, mut unread) = (Instant::now(), 0);
        loop {
            let batch = events.take_ready();
            if batch.is_empty() {
                break;
            }
            match begun.elapsed() < READS_ON {
                true => self.events(&batch)?,
                false => unread += batch.len() as u64,
            }
        }
        let tallies = self.probes.tallies();
        self.feed(Input::Detached(Tallies {
            lost: tallies.lost + unread,
            ..tallies
        }))?;
        let until = Instant::now() + AWAITS_NODE;
        while self.engine.awaits_node() {
            let left = until.saturating_duration_since(Instant::now());
            match timeout(left, self.queries.next()).await {
                Ok((id, answer)) => self.feed(Input::Answer(id, answer))?,
                Err(_) => break,
            }
        }
        self.feed(Input::Finish)?;
        log::debug!("{:?}", self.engine.work());
        Ok(())
    }
}
