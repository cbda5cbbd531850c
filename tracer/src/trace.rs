//! A trace: attach, watch until it ends, account for everything.

use std::{
    io::{self, Stdout},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};
use tracer_common::event::Event;

use crate::{
    config::TraceConfig,
    drops::{
        decode::{Decoder, DropFacts},
        fold::{Folded, Folds},
        noise,
    },
    filter,
    kernel::{
        btf::KernelBtf,
        clock::Clock,
        netns::NetnsNames,
        preflight::Preflight,
        probes::{EventStream, Probes, Settings, TRACEPOINT, Tallies},
        reasons::Reasons,
        symbols,
    },
    output::{Delivery, Printer, Terminal},
    record::{Drop, Lost, Record, Started, Summary},
    verdict,
};

/// Bytes of the ring buffer: some four thousand events.
const RING_BYTES: u32 = 1 << 22;
/// How often folds, losses and the terminal's width are looked at.
const TICK: Duration = Duration::from_millis(100);

/// Runs a trace until a signal, `--duration`, `--count`, or the reader's end.
///
/// # Errors
///
/// The trace cannot start (the message says what is missing and how to get it), or the output
/// cannot be written to.
pub fn run(config: &TraceConfig) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(trace(config))
}

async fn trace(config: &TraceConfig) -> Result<()> {
    if config.verbose {
        stderrlog();
    }
    // Signals first: from here on, Ctrl-C ends the trace in order.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let filter = filter::build(config)?;
    let reading = symbols::Reading::start();
    let btf = KernelBtf::of_running_kernel();
    let preflight = Preflight::look(&btf);
    if let Some(blocker) = preflight.blocker() {
        bail!(
            "{}: {}; {}\n  {}",
            blocker.name,
            blocker.found,
            blocker.cost,
            blocker.fix
        );
    }
    let btf = btf?;

    let mut probes = Probes::load(
        &Settings {
            filter,
            ring_bytes: RING_BYTES,
            debug: config.verbose,
        },
        &btf,
    )?;
    let mut events = probes.events()?;
    let mut log = if config.verbose {
        Some(probes.log()?)
    } else {
        None
    };
    let netns = NetnsNames::read();
    let mut degraded = preflight.degraded();
    // Already in `degraded` where it fails: drops are shown all the same, without function names.
    let symbols = reading.finish().unwrap_or_default();
    let decoder = Decoder::new(Reasons::read(&btf), symbols, Clock::now());
    probes.attach()?;

    let printer = Printer::new(
        io::stdout(),
        config.output.format,
        config.output.style.clone(),
    );
    let mut session = Session {
        config,
        decoder,
        netns,
        folds: Folds::default(),
        printer,
        reported: Tallies::default(),
        summary: Summary::default(),
        records: 0,
        ended: false,
    };
    degraded.sort();
    session.print(&Record::Started(Started {
        ts: SystemTime::now(),
        kernel: preflight.kernel.clone(),
        interfaces: 0,
        hooks: vec![format!("tp_btf/{TRACEPOINT}")],
        degraded,
        filter: config.filter_description(),
    }))?;

    let deadline = async {
        match config.duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(deadline);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !session.ended {
        tokio::select! {
            batch = events.next() => session.take(batch?)?,
            _ = ticks.tick() => session.tick(&probes)?,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = &mut deadline => break,
            failed = async {
                match &mut log {
                    Some(log) => log.forward().await,
                    None => std::future::pending().await,
                }
            } => failed?,
        }
    }
    session.finish(&mut probes, &mut events)
}

/// What a running trace knows.
struct Session<'a> {
    config: &'a TraceConfig,
    decoder: Decoder,
    netns: NetnsNames,
    folds: Folds,
    printer: Printer<Stdout>,
    /// The kernel's counters, as far as they were told.
    reported: Tallies,
    summary: Summary,
    /// Drop records printed.
    records: u64,
    /// Whether the trace is to end: `--count` is reached, or nobody reads any more.
    ended: bool,
}

impl Session<'_> {
    fn take(&mut self, batch: Vec<Bytes>) -> Result<()> {
        let now = Instant::now();
        for record in batch {
            let event = Event::from_bytes(&record)
                .context("the kernel programs sent an event of unknown kind")?;
            match event {
                Event::Drop(event) => {
                    let facts = self.decoder.event(&event);
                    if let Some(folded) = self.folds.add(facts, event.count, now) {
                        self.show(folded)?;
                    }
                }
                Event::Sighting(_) | Event::Retransmit(_) => {}
            }
        }
        Ok(())
    }

    fn tick(&mut self, probes: &Probes) -> Result<()> {
        self.netns.refresh_named();
        self.printer.resize(Terminal::stdout_width());
        for folded in self.folds.expire(Instant::now(), |key| probes.count(key)) {
            self.show(folded)?;
        }
        self.tell_losses(probes)
    }

    /// Says what was lost since the last time, and accounts for it.
    fn tell_losses(&mut self, probes: &Probes) -> Result<()> {
        let tallies = probes.tallies();
        let before = std::mem::replace(&mut self.reported, tallies);
        if tallies.lost > before.lost {
            self.lost(
                tallies.lost - before.lost,
                "the ring buffer, which was full; the drops are counted all the same",
            )?;
            self.reconcile(probes)?;
        }
        if tallies.uncounted > before.uncounted {
            let events = tallies.uncounted - before.uncounted;
            self.lost(
                events,
                "the counting map, which was full; the drops are in the total all the same",
            )?;
        }
        if tallies.skipped > before.skipped {
            let events = tallies.skipped - before.skipped;
            self.lost(events, "interrupted runs of the kernel program; whether those packets matched is not known")?;
        }
        Ok(())
    }

    fn lost(&mut self, events: u64, place: &str) -> Result<()> {
        self.summary.lost += events;
        self.print(&Record::Lost(Lost {
            ts: SystemTime::now(),
            events,
            place: place.to_owned(),
        }))
    }

    /// Shows what no event has shown.
    fn reconcile(&mut self, probes: &Probes) -> Result<()> {
        let now = SystemTime::now();
        let decoder = &self.decoder;
        for folded in self
            .folds
            .reconcile(probes.counts(), |key| decoder.key(key, now))
        {
            self.show(folded)?;
        }
        Ok(())
    }

    fn show(&mut self, folded: Folded) -> Result<()> {
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
        let record = self.record(*facts, count);
        self.summary.tally(&record.verdict, count);
        self.print(&Record::Drop(Box::new(record)))?;
        if self
            .config
            .count
            .is_some_and(|wanted| self.records >= wanted)
        {
            self.ended = true;
        }
        Ok(())
    }

    fn record(&mut self, facts: DropFacts, count: u64) -> Drop {
        let verdict = verdict::drop::judge(&facts);
        let netns_name = facts
            .netns
            .and_then(|inode| self.netns.find(inode))
            .map(str::to_owned);
        Drop {
            ts: facts.at,
            flow: facts.flow,
            original_dst: facts.original_dst,
            outer: facts.outer,
            quoted: facts.quoted,
            packet: facts.packet,
            reason: facts.reason,
            function: facts.function,
            hook: facts.hook.map(str::to_owned),
            ifname: facts.ifname,
            netns: facts.netns,
            netns_name,
            count,
            src_pod: None,
            dst_pod: None,
            stack: self.config.stack.then_some(facts.stack),
            verdict,
        }
    }

    fn print(&mut self, record: &Record) -> Result<()> {
        match self
            .printer
            .print(&record)
            .context("cannot write the output")?
        {
            Delivery::Written => {}
            Delivery::ReaderGone => self.ended = true,
        }
        Ok(())
    }

    /// Stops the programs, reads what is left, and accounts for everything.
    fn finish(mut self, probes: &mut Probes, events: &mut EventStream) -> Result<()> {
        probes.detach()?;
        loop {
            let batch = events.take_ready();
            if batch.is_empty() {
                break;
            }
            self.take(batch)?;
        }
        self.tell_losses(probes)?;
        self.reconcile(probes)?;
        self.summary.ts = Some(SystemTime::now());
        self.summary.drops += self.reported.uncounted;
        self.summary.malformed = self.reported.malformed;
        let mut summary = std::mem::take(&mut self.summary);
        summary
            .verdicts
            .sort_by_key(|verdict| std::cmp::Reverse(verdict.count));
        self.print(&Record::Summary(summary))
    }
}

/// Sends what the `log` crate gets to stderr, the kernel programs' messages included.
fn stderrlog() {
    struct Stderr;
    impl log::Log for Stderr {
        /// What the loader does to each instruction is of no use to anybody here.
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() <= log::Level::Info || !metadata.target().starts_with("aya")
        }
        fn log(&self, record: &log::Record<'_>) {
            if !self.enabled(record.metadata()) {
                return;
            }
            eprintln!(
                "{}: {}",
                record.level().as_str().to_ascii_lowercase(),
                record.args()
            );
        }
        fn flush(&self) {}
    }
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}
