//! The accounts of a whole trace: what was reported, kept until the summary at the end.

use std::{cmp::Reverse, time::SystemTime};

use super::layers::Layers;
use crate::{
    decode::tls::TlsCounts,
    model::{AttemptReport, DropReport, OtherVerdict, Outcome, Span, Summary, Verdict},
};

/// The accounts of a trace.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    summary: Summary,
    layers: Layers,
}

/// Other verdicts that are named at the end.
const ALSO: usize = 5;

/// The figures that no single report adds up to.
#[derive(Debug, Clone)]
pub(crate) struct Totals {
    /// When the trace ended.
    pub(crate) at: SystemTime,
    /// What this node is called.
    pub(crate) node: Option<String>,
    /// When an interface had no probes.
    pub(crate) unwatched: Vec<Span>,
    pub(crate) drops: DropTotals,
    /// Records that were not shown each.
    pub(crate) folded: u64,
    /// Events that were lost.
    pub(crate) lost: u64,
    /// Packets that claimed to be IP and could not be parsed.
    pub(crate) malformed: u64,
    /// SYNs that were not followed because the table was full.
    pub(crate) untracked: u64,
    pub(crate) tls: TlsCounts,
    /// Attempts that were answered and are known by their number only.
    pub(crate) answered: u64,
    /// Whether a watched namespace has a tunnel device that is up.
    pub(crate) has_tunnels: bool,
}

/// Drops, counted exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DropTotals {
    /// All but noise.
    pub(crate) all: u64,
    /// Those that a report stands for.
    pub(crate) shown: u64,
    /// Those that are counted in the reports of what was too much to show.
    pub(crate) folded: u64,
    /// Those that healthy traffic makes too, where they are not shown.
    pub(crate) noise: u64,
}

impl Accounts {
    pub(crate) fn drop(&mut self, drop: &DropReport) {
        // What healthy traffic makes, too, is no failure.
        if drop.noise {
            let shown = &mut self.summary.noise_shown;
            *shown = shown.saturating_add(drop.count);
            return;
        }
        self.summary.tally(&drop.verdict, drop.count);
        self.layers.dropped(drop);
    }

    /// Takes a drop whose verdict was another one before for so many packets.
    pub(crate) fn correct_drop(&mut self, before: &Verdict, drop: &DropReport, count: u64) {
        self.summary.take_back(before, count);
        self.summary.tally(&drop.verdict, count);
        self.layers.corrected_drop(before, drop, count);
    }

    /// Takes back the verdict on an attempt that is about to be reported anew.
    pub(crate) fn take_back(&mut self, verdict: &Verdict) {
        self.summary.take_back(verdict, 1);
    }

    /// Takes an attempt. `is_of_drop` says that its verdict is that of a drop, which was reported
    /// itself.
    pub(crate) fn attempt(&mut self, attempt: &AttemptReport, is_of_drop: bool) {
        let attempts = &mut self.summary.attempts;
        if let Some(before) = attempt.corrects
            && let Some(count) = attempts.get_mut(&before)
        {
            *count -= 1;
        }
        *attempts.entry(attempt.outcome).or_default() += 1;
        attempts.retain(|_, count| *count > 0);
        if let Some(verdict) = attempt.verdict.as_ref().filter(|_| !is_of_drop) {
            self.summary.tally(verdict, 1);
        }
        self.layers.attempted(attempt);
    }

    /// Takes what servers have not read, a sentence each.
    pub(crate) fn unread(&mut self, unread: Vec<String>) {
        self.layers.unread(unread);
    }

    /// Closes the accounts.
    pub(crate) fn close(&mut self, totals: Totals) -> Summary {
        let Totals {
            at,
            node,
            unwatched,
            drops,
            folded,
            lost,
            malformed,
            untracked,
            tls,
            answered,
            has_tunnels,
        } = totals;
        if answered > 0 {
            *self.summary.attempts.entry(Outcome::Answered).or_default() += answered;
            self.layers.answered(answered);
        }
        let is_complete = drops.shown + drops.folded == drops.all && lost == 0 && untracked == 0;
        self.layers.began_tls(tls);
        let mut verdicts = self.layers.verdicts().into_iter();
        let main = verdicts.next();
        let mut summary = Summary {
            ts: Some(at),
            node,
            unwatched,
            drops: drops.all,
            shown: drops.shown,
            folded,
            counted: answered,
            noise: drops.noise,
            lost,
            malformed,
            untracked,
            layers: self.layers.rows(is_complete, has_tunnels),
            verdict_count: main.as_ref().map_or(0, OtherVerdict::count),
            verdict: main.map(|main| main.verdict),
            also: verdicts.take(ALSO).collect(),
            ..std::mem::take(&mut self.summary)
        };
        let verdicts = &mut summary.verdicts;
        verdicts.sort_by_key(|verdict| Reverse(verdict.count));
        summary
    }
}
