//! A whydrop that must not grow.

use std::time::Duration;

use anyhow::{Result, ensure};
use whydrop_tests::{poll_until, record::Summary, resource_usage::ResourceUsage, tracer::Tracer};

/// After how long memory must be level.
const WARM_UP: Duration = Duration::from_secs(180);
/// What memory may grow by after that, in percent: an allocator is not exact.
const GROWTH: u64 = 5;

pub(crate) struct Subject {
    what: &'static str,
    tracer: Tracer,
    pid: u32,
    /// What it holds before anything has happened.
    idle: ResourceUsage,
    records: usize,
    /// Resident KiB after the warm-up, and the most since.
    warm: Option<u64>,
    highest: u64,
}

impl Subject {
    pub(crate) fn new(what: &'static str, tracer: Tracer) -> Result<Self> {
        let pid = tracer.pid();
        Ok(Self {
            what,
            tracer,
            pid,
            idle: ResourceUsage::of(pid)?,
            records: 0,
            warm: None,
            highest: 0,
        })
    }

    /// Reads what it has said.
    pub(crate) fn read(&mut self) -> Result<()> {
        self.records += self.tracer.discard()?;
        Ok(())
    }

    /// Prints a row of what it holds, and keeps the memory in mind.
    pub(crate) fn look(&mut self, elapsed: Duration, rounds: usize) -> Result<()> {
        let now = ResourceUsage::of(self.pid)?;
        println!(
            "{:>5} s  {rounds:>7}  {:<8}  {:>7}  {:>12}  {:>11}  {:>7}  {:>5}  {:>4}",
            elapsed.as_secs(),
            self.what,
            self.records,
            now.resident,
            now.descriptors,
            now.threads,
            now.links.len(),
            now.maps
        );
        if elapsed >= WARM_UP {
            self.warm.get_or_insert(now.resident);
            self.highest = self.highest.max(now.resident);
        }
        Ok(())
    }

    /// Ends it. What it released is gone once it has the kernel's message about the last interface.
    pub(crate) fn end(self) -> Result<Summary> {
        let Self {
            what, tracer, idle, ..
        } = self;
        // Fewer descriptors, perhaps: some serve the start alone.
        let level = |now: &ResourceUsage| {
            now.descriptors <= idle.descriptors
                && (&now.links, now.maps) == (&idle.links, idle.maps)
        };
        let quiet = poll_until("whydrop to hold no more than at the start", || {
            ResourceUsage::of(self.pid).ok().filter(level)
        });
        let after = match quiet {
            Ok(quiet) => quiet,
            Err(error) => {
                let after = ResourceUsage::of(self.pid)?;
                return Err(error.context(format!("{what}: at the start {idle}; now {after}")));
            }
        };
        let warm = self.warm.unwrap_or(after.resident);
        let highest = self.highest;
        println!("{what} at the start: {idle}\n{what} at the end:   {after}");
        ensure!(
            highest <= warm + warm * GROWTH / 100,
            "{what} grew: {warm} KiB after the warm-up, {highest} KiB later"
        );
        let summary = tracer.stop()?.summary;
        println!(
            "{what}: {} drops, {} lost, {} attempts; after the warm-up {warm} KiB, at most \
             {highest} KiB",
            summary.drops,
            summary.lost,
            summary.attempts.values().sum::<u64>(),
        );
        Ok(summary)
    }
}
