//! A trace: attach, watch until it ends, account for everything.

use std::{
    io, iter,
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};
use tracer_common::filter::Watched;

use super::{wait, watchdog};
use crate::{
    cli::{filter, options::TraceConfig},
    cluster::source::Sources,
    decode::drop::Decoder,
    engine::{filter_names::Named, session::Session},
    kernel::{
        btf::KernelBtf,
        clock::Clock,
        preflight::Preflight,
        probes::{Attachment, Probes, RETRANSMIT, Settings, TRACEPOINT, TcProbes},
        reasons::Reasons,
        symbols,
    },
    model::Started,
    net::{
        Watch,
        netns::{Namespace, NetnsNames},
    },
    sink::Printer,
};

/// How often folds, losses and the terminal's width are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How many things that sources tell are taken in one go: events wait meanwhile.
const UPDATES: usize = 256;

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
    if config.debug {
        stderrlog();
    }
    // Signals first: from here on, Ctrl-C ends the trace in order.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // The terminal or the connection to the node is gone: without this, that would kill us.
    let mut hangup = signal(SignalKind::hangup())?;
    watchdog::watch()?;
    let filter = filter::build(config)?;
    // They have all the time that loading the probes takes, and are not waited for.
    let mut sources = Sources::start(&config.cluster)?;
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

    let namespaces = Namespace::of(&config.netns)?;
    let reasons = Reasons::read(&btf);
    let mut probes = Probes::load(
        &Settings {
            filter,
            watched: watched(&namespaces),
            ring_bytes: config.ring_bytes,
            stacks: reasons.stacks(config.stack),
            debug: config.debug,
        },
        &btf,
    )?;
    let mut events = probes.events()?;
    let mut log = if config.debug {
        Some(probes.log()?)
    } else {
        None
    };
    let names = NetnsNames::read();
    let mut degraded = preflight.degraded();
    // Already in `degraded` where it fails: drops are shown all the same, without function names.
    let symbols = reading.finish().unwrap_or_default();
    let decoder = Decoder::new(reasons, symbols, Clock::now());

    let mut watch = Watch::start(&namespaces)?;
    probes.attach()?;
    let attachment = Attachment::suitable(watch.inventory().iter().count());
    let mut tc = TcProbes::new(&namespaces, attachment);
    probes.attach_classifiers(&mut tc, watch.inventory().iter())?;
    degraded.extend(tc.degraded());
    let blind_spots = preflight.blind_spots().into_iter().chain(tc.degraded());

    let printer = Printer::new(
        io::stdout(),
        config.output.format,
        config.output.style.clone(),
        config.detail,
    );
    let mut session = Session::new(config, decoder, names, printer);
    let mut named = Named::of(config);
    let in_force = tokio::select! {
        known = wait::for_names(&mut named, &mut session, &mut sources, &mut probes) => {
            known?;
            true
        }
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
        _ = hangup.recv() => false,
    };
    if !in_force {
        let inventory = watch.inventory();
        return session.finish(&mut probes, &mut events, inventory).await;
    }
    if let Some(unread) = tc.unread() {
        session.note(unread);
    }
    session.fates.blind_spots = blind_spots.collect();
    session.started(Started {
        ts: SystemTime::now(),
        kernel: preflight.kernel.clone(),
        interfaces: tc.len(),
        hooks: [TRACEPOINT, RETRANSMIT]
            .map(|name| format!("tp_btf/{name}"))
            .into_iter()
            .chain(tc.attachment().hooks())
            .collect(),
        degraded,
        filter: config.filter_description(|name| named.whereabouts(name)),
    })?;

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
            batch = events.next() => session.take(&batch?, &probes, watch.inventory())?,
            changes = watch.next() => {
                probes.follow_interfaces(&mut tc, &changes?)?;
                session.fates.unwatched = tc.degraded();
            }
            update = sources.next() => {
                session.learned(update);
                for update in iter::from_fn(|| sources.ready()).take(UPDATES) {
                    session.learned(update);
                }
                let changes = named.look(&session.cluster);
                probes.change_members(changes.put, changes.gone)?;
                for note in changes.notes {
                    session.note(note);
                }
            }
            answer = session.fates.answer() => session.answered(answer, watch.inventory())?,
            answered = session.inquiries.next() => session.informed(answered, watch.inventory())?,
            _ = ticks.tick() => {
                session.tick(&mut probes)?;
                session.tick_fates(watch.inventory())?;
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = hangup.recv() => break,
            () = &mut deadline => break,
            failed = async {
                match &mut log {
                    Some(log) => log.forward().await,
                    None => std::future::pending().await,
                }
            } => failed?,
        }
    }
    // What the sources have told by now belongs to this trace.
    for update in iter::from_fn(|| sources.ready()) {
        session.learned(update);
    }
    session
        .finish(&mut probes, &mut events, watch.inventory())
        .await
}

/// The namespaces as the kernel programs look for them.
fn watched(namespaces: &[Namespace]) -> Watched {
    let mut watched = Watched::NOTHING;
    for (place, namespace) in watched.netns.iter_mut().zip(namespaces) {
        *place = namespace.inode;
    }
    watched
}

/// Sends what the `log` crate gets to stderr, the kernel programs' messages included.
fn stderrlog() {
    struct Stderr;
    impl log::Log for Stderr {
        /// What libraries do in each step is of no use to anybody here.
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            let target = metadata.target();
            let ours = ["whydrop", "tracer"]
                .iter()
                .any(|own| target.starts_with(own));
            ours || metadata.level() <= log::Level::Info
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
