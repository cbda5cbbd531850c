//! What was lost on the way here, and when it is to be accounted for.

use super::{
    MILLISECOND, Nanos, SECOND,
    effect::{Effect, MapQuery},
    knowledge::Context,
};
use crate::model::{Lost, Report, Tallies};

/// How long an event may lie in the ring buffer before it is read; less than a tick. Until then its
/// drop is not shown by its count, which says less.
const EVENT_DELAY: Nanos = 50 * MILLISECOND;

/// After reading all of the kernel's counts, they are not read again for this many times as long …
const PAUSE: Nanos = 4;
/// … but at most for so long.
const LONGEST_PAUSE: Nanos = 10 * SECOND;

/// Where events are lost.
const RING_BUFFER: &str =
    "the ring buffer, which was full; the drops are still counted, and --ring-size makes it larger";
const COUNTING_MAP: &str = "the counting map, which was full; the drops are still in the total";
const SKIPPED_RUNS: &str =
    "interrupted runs of the kernel program; it is not known whether those packets matched";

/// The losses of a trace.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    /// The kernel's counters, as far as they were reported.
    reported: Tallies,
    /// Whether events were lost whose drops are still to be shown by their count: at the next tick,
    /// when no event can be on its way any more.
    unaccounted: bool,
    /// When the kernel's counts were read for that, and when they may be again.
    read: Option<Nanos>,
    not_before: Nanos,
}

impl Losses {
    /// Reports what was lost since the last time, and has it accounted for.
    pub(crate) fn tick(&mut self, tallies: Tallies, cx: &mut Context<'_>) {
        // It takes the longer, the more there are; in a storm, the events must have most of the time.
        if let Some(read) = self.read.take() {
            let took = cx.now.saturating_sub(read);
            self.not_before = cx.now + (PAUSE * took).clamp(SECOND, LONGEST_PAUSE);
        }
        if self.unaccounted && cx.now >= self.not_before {
            self.unaccounted = false;
            self.read = Some(cx.now);
            let until = cx.now.saturating_sub(EVENT_DELAY);
            cx.effects.push(Effect::Read(MapQuery::AllCounts { until }));
        }
        let before = std::mem::replace(&mut self.reported, tallies);
        self.unaccounted |= tallies.lost > before.lost;
        let lost = [
            (tallies.lost, before.lost, RING_BUFFER),
            (tallies.uncounted, before.uncounted, COUNTING_MAP),
            (tallies.skipped, before.skipped, SKIPPED_RUNS),
        ];
        for (now, before, place) in lost {
            let events = now.saturating_sub(before);
            if events > 0 {
                cx.visibility.lose(events, cx.now);
                cx.report(Report::Lost(Lost {
                    ts: cx.time_of_day(),
                    events,
                    place: place.to_owned(),
                }));
            }
        }
    }

    /// The kernel's counters, as far as they were reported.
    pub(crate) fn tallies(&self) -> Tallies {
        self.reported
    }
}
