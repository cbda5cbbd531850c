//! What a running trace knows, and what it makes of each event.

use std::{
    io::Stdout,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tracer_common::event::{DropEvent, Event};

use super::{
    cluster_context::{self, Asked},
    in_flight::Fates,
    queries::{Answered, Inquiries, Waiting},
};
use crate::command::watchdog;
use crate::{
    cli::options::TraceConfig,
    cluster::{
        live::Cluster,
        naming::Name,
        update::{Change, Update},
    },
    decode::{
        drop::{Decoder, DropFacts},
        noise,
        sighting::Sighting,
    },
    engine::{
        fold::{Folded, Folds},
        table::Moved,
    },
    kernel::{
        clock::monotonic_nanos,
        probes::{EventStream, Probes, Tallies},
    },
    model::{DropReport, Flow, Lost, Report, Started, Summary, Verdict},
    net::{Inventory, netns::NetnsNames},
    node::facts::NodeFacts,
    report::layers::Layers,
    sink::{self, Delivery, Printer, Terminal},
    verdict,
};

/// What a running trace knows.
pub(crate) struct Session<'a> {
    config: &'a TraceConfig,
    decoder: Decoder,
    pub(crate) names: NetnsNames,
    folds: Folds,
    pub(crate) fates: Fates,
    pub(crate) inquiries: Inquiries,
    /// Pods, Services and policies, as far as their sources have told.
    pub(crate) cluster: Cluster,
    /// What the sources could not have, before the trace has started.
    notes: Option<Vec<String>>,
    printer: Printer<Stdout>,
    /// The kernel's counters, as far as they were told.
    reported: Tallies,
    /// Whether events were lost whose drops are still to be shown by their count: at the next tick,
    /// when no event can be on its way any more.
    unaccounted: bool,
    pub(crate) summary: Summary,
    layers: Layers,
    /// Drop records printed.
    records: u64,
    /// Whether the trace is to end: `--count` is reached, or nobody reads any more.
    pub(crate) ended: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        config: &'a TraceConfig,
        decoder: Decoder,
        names: NetnsNames,
        printer: Printer<Stdout>,
    ) -> Self {
        Self {
            config,
            fates: Fates::new(config.timeout, decoder.clock()),
            decoder,
            names,
            folds: Folds::default(),
            inquiries: Inquiries::default(),
            cluster: Cluster::default(),
            notes: Some(Vec::new()),
            printer,
            reported: Tallies::default(),
            unaccounted: false,
            summary: Summary::default(),
            layers: Layers::default(),
            records: 0,
            ended: false,
        }
    }

    pub(crate) fn started(&mut self, mut started: Started) -> Result<()> {
        started
            .degraded
            .extend(self.notes.take().into_iter().flatten());
        self.print(&Report::Started(started))
    }

    /// Takes what a source of cluster knowledge tells.
    pub(crate) fn learned(&mut self, update: Update) {
        if let Change::Note(note) = &update.change {
            self.note(note.clone());
        }
        self.cluster.apply(update, SystemTime::now());
    }

    /// Tells the user what belongs to no record: with the start, and on stderr after it.
    pub(crate) fn note(&mut self, note: String) {
        match &mut self.notes {
            Some(notes) => notes.push(note),
            None => sink::note(&note),
        }
    }

    /// Tells what was to come with the start of the trace, which does not come.
    pub(crate) fn tell_notes(&mut self) {
        for note in self.notes.take().into_iter().flatten() {
            sink::note(&note);
        }
    }

    /// Takes a batch of events.
    pub(crate) fn take(
        &mut self,
        batch: &[Bytes],
        probes: &Probes,
        inventory: &Inventory,
    ) -> Result<()> {
        let now = Instant::now();
        for record in batch {
            let event = Event::from_bytes(record)
                .context("the kernel programs sent an event of unknown kind")?;
            let moved = match event {
                Event::Drop(event) => self.dropped(&event, now)?,
                Event::Sighting(event) => Sighting::decode(&event)
                    .and_then(|sighting| self.fates.sighted(&sighting, probes)),
                Event::Retransmit(event) => self.fates.table.retransmitted(&event),
            };
            if let Some(key) = moved {
                self.tell_if_decided(&key, inventory)?;
            }
        }
        Ok(())
    }

    /// A dropped packet: it moves its attempt, and is shown. Both may wait for the node's facts.
    fn dropped(&mut self, event: &DropEvent, now: Instant) -> Result<Moved> {
        let facts = self.decoder.event(event);
        let mut moved = None;
        if noise::explain(&facts).is_none() {
            let waiting = Waiting::Event(Box::new(facts.clone()));
            if let Some((Waiting::Event(facts), node)) = self.inquiries.facts_or_wait(waiting) {
                moved = self.move_attempt(&facts, &node);
            }
        }
        if let Some(folded) = self.folds.add(facts, event.count, now) {
            self.present(folded)?;
        }
        Ok(moved)
    }

    fn move_attempt(&mut self, facts: &DropFacts, node: &NodeFacts) -> Moved {
        let verdict = self.judge(facts, node);
        self.fates.table.dropped(facts, &verdict)
    }

    /// The verdict on a drop.
    fn judge(&mut self, facts: &DropFacts, node: &NodeFacts) -> Verdict {
        let mut verdict = verdict::drop::judge(facts, node);
        let netns = self.names.place(facts.netns);
        verdict.fix.iter_mut().for_each(|fix| fix.resolve(&netns));
        verdict::cluster::refine(verdict, &cluster_context::of_drop(&self.cluster, facts))
    }

    /// Shows drops, now or when the node has answered.
    fn present(&mut self, folded: Folded) -> Result<()> {
        if noise::explain(&folded.facts).is_some() {
            return self.show(folded, &NodeFacts::default());
        }
        match self.inquiries.facts_or_wait(Waiting::Folded(folded)) {
            Some((Waiting::Folded(folded), node)) => self.show(folded, &node),
            _ => Ok(()),
        }
    }

    /// Takes an answer of the node, and what has waited for it.
    pub(crate) fn informed(&mut self, answered: Answered, inventory: &Inventory) -> Result<()> {
        let Answered {
            facts: node,
            waiting,
        } = answered;
        let mut events = Vec::new();
        // The drop first, then the attempt that it explains.
        for waiting in waiting {
            match waiting {
                Waiting::Event(facts) => events.push(facts),
                Waiting::Folded(folded) => self.show(folded, &node)?,
            }
        }
        for facts in events {
            if let Some(key) = self.move_attempt(&facts, &node) {
                self.tell_if_decided(&key, inventory)?;
            }
        }
        Ok(())
    }

    /// What has to be done from time to time.
    pub(crate) fn tick(&mut self, probes: &mut Probes) -> Result<()> {
        self.names.refresh_named();
        self.printer.resize(Terminal::stdout_width());
        let printer = &mut self.printer;
        let due = watchdog::watched(|| printer.tick(SystemTime::now()));
        self.delivered(due.context("cannot write the output")?);
        self.ended |= Terminal::stdout_has_no_reader();
        for folded in self.folds.expire(Instant::now(), |key| probes.count(key)) {
            self.present(folded)?;
        }
        self.make_room(probes);
        self.tell_losses(probes)
    }

    /// Lets go of kinds of drops that have long been told in full, before the kernel's map has no
    /// room for new ones.
    fn make_room(&mut self, probes: &mut Probes) {
        if self.folds.len() < probes.room_for_kinds() / 4 {
            return;
        }
        for (key, reported) in self.folds.idle(Instant::now()) {
            if probes.forget(&key, reported) {
                self.folds.forget(&key);
            }
        }
    }

    /// Says what was lost since the last time, and accounts for it.
    fn tell_losses(&mut self, probes: &Probes) -> Result<()> {
        let tallies = probes.tallies();
        let before = std::mem::replace(&mut self.reported, tallies);
        if std::mem::take(&mut self.unaccounted) {
            self.reconcile(probes, EVENT_DELAY)?;
        }
        if tallies.lost > before.lost {
            let place = "the ring buffer, which was full; the drops are counted all the same, and \
                         --ring-size makes it larger";
            self.lost(tallies.lost - before.lost, place)?;
            self.unaccounted = true;
        }
        if tallies.uncounted > before.uncounted {
            let place = "the counting map, which was full; the drops are in the total all the same";
            self.lost(tallies.uncounted - before.uncounted, place)?;
        }
        if tallies.skipped > before.skipped {
            let place = "interrupted runs of the kernel program; whether those packets matched is not known";
            self.lost(tallies.skipped - before.skipped, place)?;
        }
        Ok(())
    }

    fn lost(&mut self, events: u64, place: &str) -> Result<()> {
        self.summary.lost += events;
        self.fates.lost += events;
        self.print(&Report::Lost(Lost {
            ts: SystemTime::now(),
            events,
            place: place.to_owned(),
        }))
    }

    /// Shows what no event has shown, of drops up to an age.
    fn reconcile(&mut self, probes: &Probes, age: Duration) -> Result<()> {
        let now = SystemTime::now();
        let decoder = &self.decoder;
        let until = monotonic_nanos().saturating_sub(age.as_nanos().try_into().unwrap_or(u64::MAX));
        let counts = probes.counts().filter(|(_, found)| found.window <= until);
        let counts = counts.map(|(key, found)| (key, found.count));
        for folded in self
            .folds
            .reconcile(counts, Instant::now(), |key| decoder.key(key, now))
        {
            self.present(folded)?;
        }
        Ok(())
    }

    fn show(&mut self, folded: Folded, node: &NodeFacts) -> Result<()> {
        let Folded { facts, count } = folded;
        if !self.config.noise && noise::explain(&facts).is_some() {
            self.summary.noise += count;
            return Ok(());
        }
        self.summary.drops += count;
        // Everything is counted to the end; shown is what the user asked for.
        if self.ended {
            return Ok(());
        }
        self.summary.shown += count;
        self.records += 1;
        let record = self.record(*facts, node, count);
        self.tally(&record.verdict, count);
        self.print(&Report::Drop(Box::new(record)))?;
        if self
            .config
            .count
            .is_some_and(|wanted| self.records >= wanted)
        {
            self.ended = true;
        }
        Ok(())
    }

    fn record(&mut self, facts: DropFacts, node: &NodeFacts, count: u64) -> DropReport {
        let verdict = self.judge(&facts, node);
        let (src, dst) = self.ends(&facts.flow, Asked::of_drop(&facts), facts.at);
        let netns_name = facts
            .netns
            .and_then(|inode| self.names.find(inode))
            .map(ToString::to_string);
        DropReport {
            ts: facts.at,
            flow: facts.flow,
            original_dst: facts.original_dst,
            outer: facts.outer,
            quoted: facts.quoted,
            packet: facts.packet,
            reason: facts.reason,
            function: facts.function,
            hook: facts.hook,
            ifname: facts.ifname,
            netns: facts.netns,
            netns_name,
            count,
            src_pod: src.pod(),
            dst_pod: dst.pod(),
            src_owner: src.words(),
            dst_owner: dst.words(),
            stack: self.config.stack.then_some(facts.stack),
            verdict,
        }
    }

    /// Who was at both ends of a flow.
    pub(crate) fn ends(&self, flow: &Flow, asked: Asked, at: SystemTime) -> (Name, Name) {
        let name = |end, which| cluster_context::name(&self.cluster, flow, end, asked == which, at);
        (
            name((flow.src, flow.sport), Asked::Source),
            name((flow.dst, flow.dport), Asked::Destination),
        )
    }

    pub(crate) fn tally(&mut self, verdict: &Verdict, count: u64) {
        self.summary.tally(verdict, count);
    }

    pub(crate) fn print(&mut self, record: &Report) -> Result<()> {
        match record {
            Report::Drop(drop) => self.layers.dropped(drop),
            Report::Attempt(attempt) => self.layers.attempted(attempt),
            Report::Started(_) | Report::Lost(_) | Report::Summary(_) => {}
        }
        let printer = &mut self.printer;
        let printed = watchdog::watched(|| printer.print(record));
        self.delivered(printed.context("cannot write the output")?);
        Ok(())
    }

    fn delivered(&mut self, delivery: Delivery) {
        self.ended |= delivery == Delivery::ReaderGone;
    }

    /// Stops the programs, reads what is left, and accounts for everything.
    pub(crate) async fn finish(
        mut self,
        probes: &mut Probes,
        events: &mut EventStream,
        inventory: &Inventory,
    ) -> Result<()> {
        probes.detach()?;
        loop {
            let batch = events.take_ready();
            if batch.is_empty() {
                break;
            }
            self.take(&batch, probes, inventory)?;
        }
        self.tell_losses(probes)?;
        self.reconcile(probes, Duration::ZERO)?;
        for answered in self.inquiries.rest().await {
            self.informed(answered, inventory)?;
        }
        self.tell_the_rest(inventory)?;
        self.summary.ts = Some(SystemTime::now());
        self.summary.drops += self.reported.uncounted;
        self.summary.malformed = self.reported.malformed;
        self.summary.untracked = self.fates.table.untracked;
        self.summary
            .verdicts
            .sort_by_key(|verdict| std::cmp::Reverse(verdict.count));
        let mut summary = std::mem::take(&mut self.summary);
        let all_shown = summary.shown == summary.drops;
        let complete = all_shown && summary.lost == 0 && summary.untracked == 0;
        self.layers.began_tls(self.fates.table.tls);
        summary.layers = self.layers.rows(complete);
        summary.verdict = self.layers.verdict().cloned();
        self.print(&Report::Summary(summary))
    }
}

/// How long an event may lie in the ring buffer before it is read; less than a tick. Until then its
/// drop is not shown by its count, which says less.
const EVENT_DELAY: Duration = Duration::from_millis(50);

/// How long facts of the node may take to read; a verdict must not wait for longer.
pub(crate) const FACTS_LIMIT: Duration = Duration::from_secs(1);
