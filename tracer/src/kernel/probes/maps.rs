//! The maps of the kernel programs: their counts, and what userspace passes to them.

use std::{fs, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use tracer_common::{
    event::{DropCount, DropKey, EarlyHop, EarlyHops, tally},
    filter::Member,
};

use super::Probes;
use crate::model::Tallies;

impl Probes {
    /// The exact count of one kind of drop; 0 if there was none.
    pub(crate) fn count(&self, key: &DropKey) -> u64 {
        self.drops.get(key, 0).map_or(0, |found| found.count)
    }

    /// Removes a drop key, if its count is still `reported`. A drop of that
    /// kind in the very microsecond between the look and the removal would be lost; hence only for
    /// kinds that have been idle.
    pub(crate) fn forget(&mut self, key: &DropKey, reported: u64) -> bool {
        self.count(key) == reported && self.drops.remove(key).is_ok()
    }

    /// Says whether the counting map has little room left.
    ///
    /// # Errors
    ///
    /// None that is known of: the map has the place.
    pub(crate) fn crowd(&mut self, is_crowded: bool) -> Result<()> {
        Ok(self.crowded.set(0, u32::from(is_crowded), 0)?)
    }

    /// The exact counts of all drops.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (DropKey, DropCount)> + '_ {
        self.drops.iter().flatten()
    }

    /// Sightings of a SYN or a DNS query from before it matched the filter, by
    /// [`tracer_common::event::handshake_key`].
    pub(crate) fn early_hops(&self, key: u64) -> Vec<EarlyHop> {
        let found = self.early.get(&EarlyHops::place(key), 0).ok();
        found
            .map(|hops| hops.of(key).copied().collect())
            .unwrap_or_default()
    }

    /// Puts entries into the sets of the filter, and takes others out. In this order, so that what
    /// stays in a set is in it all the time.
    ///
    /// # Errors
    ///
    /// There are more than the map holds.
    pub(crate) fn change_members(
        &mut self,
        put: impl IntoIterator<Item = (Member, u32)>,
        gone: impl IntoIterator<Item = Member>,
    ) -> Result<()> {
        for (member, value) in put {
            self.members
                .insert(member, value, 0)
                .context("the filter has room for 65536 addresses and ports of names")?;
        }
        for member in gone {
            // It may never have fitted in.
            let _ = self.members.remove(&member);
        }
        Ok(())
    }

    /// The kernel's counters of what it could not send or count.
    pub(crate) fn tallies(&self) -> Tallies {
        let sum = |index| self.tally(index);
        Tallies {
            uncounted: sum(tally::UNCOUNTED),
            lost: sum(tally::LOST),
            malformed: sum(tally::MALFORMED),
            skipped: self.skipped_runs().unwrap_or(0),
            answered: self.held.answered(sum(tally::ANSWERED)),
        }
    }

    fn tally(&self, index: u32) -> u64 {
        let per_cpu = self.tallies.get(&index, 0);
        per_cpu.map_or(0, |per_cpu| per_cpu.iter().sum())
    }

    /// The events of a handshake that was held until now, oldest first.
    pub(crate) fn released(&mut self, key: u64) -> Vec<Bytes> {
        self.held.take(key)
    }

    /// The events of all handshakes that began no later than `until`, nanoseconds of `CLOCK_MONOTONIC`,
    /// and are not over.
    pub(crate) fn overdue(&mut self, until: u64) -> Vec<Vec<Bytes>> {
        let held = self.tally(tally::HELD);
        self.held.take_overdue(held, until)
    }

    /// `recursion_misses` of the program (since 5.12): runs that the kernel skipped.
    fn skipped_runs(&self) -> Option<u64> {
        let fd = self.at_drops.as_ref()?.program.as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        info.lines()
            .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
    }
}
