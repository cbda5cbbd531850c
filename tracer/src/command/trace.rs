//! A trace: attach, watch until it ends, account for everything.

use std::{io, iter, time::Duration};

use anyhow::Result;
use tokio::{
    task::yield_now,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    ending::{self, Signals},
    heartbeat::Heart,
    log,
    setup::{Setup, Trace},
    unmatched, wait, watchdog,
};
use crate::{
    cli::{filter, options::TraceConfig},
    cluster::{source::Sources, update::Update},
    engine::{FilterNames, Input},
    kernel::root,
    sink::Printer,
};

/// How often folds, losses and the terminal's width are looked at.
const TICK: Duration = Duration::from_millis(100);
/// The same while nothing happens: a trace that waits must not keep a processor awake.
const IDLE_TICK: Duration = Duration::from_millis(400);

/// Runs a trace until a signal, `--duration`, `--count`, or the reader's end.
///
/// # Errors
///
/// The trace cannot start (the message says what is missing and how to get it), or the output
/// cannot be written to.
pub(crate) fn run(config: &TraceConfig) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(trace(config))
}

async fn trace(config: &TraceConfig) -> Result<()> {
    if config.debug {
        log::to_stderr();
    }
    if config.node_tools {
        root::trust_first_process();
    }
    // Signals first: from here on, Ctrl-C ends the trace in order.
    let mut signals = Signals::new()?;
    watchdog::watch()?;
    let mut heart = Heart::watch(config.heartbeat)?;
    let printer = Printer::new(
        io::stdout(),
        config.output.format,
        config.output.style.clone(),
        config.detail,
    );
    let mut trace = Trace::attach(Setup {
        config,
        filter: filter::build(config)?,
        names: FilterNames::of(config.to.as_ref(), config.from.as_ref(), config.proto)
            .standing_for(&config.to_is, &config.from_is),
        netns: &config.netns,
        sources: Sources::start(&config.cluster)?,
        outlet: Box::new(printer),
    })?;
    // A signal that came meanwhile ends the trace, though it would also fail now.
    let in_force = tokio::select! {
        biased;
        () = signals.any() => false,
        known = wait::for_names(&mut trace.shell, &mut trace.sources) => {
            known?;
            true
        }
    };
    if in_force {
        trace.announce(config)?;
        tokio::select! {
            biased;
            () = signals.any() => trace.shell.interrupted()?,
            ended = watch(&mut trace) => ended?,
            () = ending::after(config.duration) => {}
            () = heart.stopped() => {}
        }
    }
    trace.shell.unfinished()?;
    // A reader that is gone wants no explanation.
    if in_force && !trace.shell.ended && !trace.shell.engine.has_matched() {
        let watched = trace.watched();
        for note in unmatched::elsewhere(config, &watched).await {
            trace.shell.note(note);
        }
    }
    // What the sources have reported by now belongs to this trace.
    let updates = trace.sources.ready().collect();
    trace.shell.feed(Input::Cluster(updates))?;
    trace.shell.finish(&mut trace.events).await
}

/// Hands in what happens, until the trace has ended by itself.
async fn watch(trace: &mut Trace) -> Result<()> {
    let mut ticks = ticks();
    while !trace.shell.ended {
        trace.step(&mut ticks).await?;
        // In a flood, the next step is due at once: a signal must not wait for the last of them.
        yield_now().await;
    }
    Ok(())
}

/// When what repeats is looked at.
pub(super) fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Trace {
    /// Waits for the next thing that happens, and hands it in. Can be cancelled without loss.
    pub(super) async fn step(&mut self, ticks: &mut Interval) -> Result<()> {
        let Self {
            shell,
            events,
            watch,
            interfaces,
            sources,
            log,
            ..
        } = self;
        tokio::select! {
            batch = events.next() => shell.events(&batch?)?,
            changes = watch.next() => {
                let present = watch.inventory().iter().count();
                interfaces.follow(shell, changes?, present)?;
            }
            followed = interfaces.next() => interfaces.followed(shell, followed)?,
            updates = next_updates(sources) => shell.feed(Input::Cluster(updates))?,
            (id, answer) = shell.queries.next() => shell.feed(Input::Answer(id, answer))?,
            _ = ticks.tick() => {
                shell.tick(events)?;
                if shell.is_idle() {
                    ticks.reset_after(IDLE_TICK);
                }
            }
            failed = log::forward(log) => failed?,
        }
        Ok(())
    }
}

/// Waits for the sources, and takes what they have. Can be cancelled without loss.
async fn next_updates(sources: &mut Sources) -> Vec<Update> {
    let first = sources.next().await;
    iter::once(first).chain(sources.ready()).collect()
}
