//! What of a stream of records is news: a drop and the attempt that it killed are one entry, what
//! repeats becomes a count, and what works stays out of a broad trace.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use super::packet;
use crate::model::{AttemptReport, Cause, DropReport, Fix, Flow, Outcome, Point, Verdict};

/// Entries whose repetitions are counted. Beyond that, the oldest one is closed.
const MAX_ENTRIES: usize = 256;
/// Flows that are remembered of each entry, to know its attempts by.
const MAX_FLOWS: usize = 32;
/// How soon the first count of repetitions follows its entry; each later one waits twice as long.
const FIRST_COUNT: Duration = Duration::from_secs(2);
/// The longest wait between two counts.
const LAST_COUNT: Duration = Duration::from_secs(60);

/// How a record is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// As an entry of its own.
    Entry,
    /// As the end of an entry that stands above: an attempt whose drop was shown. The time is that
    /// of the entry; `adjacent` says whether nothing stands in between.
    Ending { of: SystemTime, adjacent: bool },
    /// By a later count.
    Counted,
    /// Not at all.
    Hidden,
}

/// What an entry has in common with its repetitions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    kind: Kind,
    cause: Cause,
    fix: Vec<Fix>,
    /// What is said of the policies: one of the same name may be another by now.
    policies: Vec<String>,
    server: (std::net::IpAddr, Option<u16>),
    client: std::net::IpAddr,
    place: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Drop,
    Attempt(Outcome),
}

/// An entry on the screen.
#[derive(Debug)]
struct Entry {
    key: Key,
    /// The time that stands beside it.
    at: SystemTime,
    /// Both ends, by the names that they had then.
    ends: String,
    /// Flows of its drops, each in the direction of the dropped packet.
    flows: VecDeque<Flow>,
    /// Whether an attempt has ended it already, and with it the ladder was drawn.
    ended: bool,
    pending: Pending,
    next_count: Duration,
}

/// Repetitions that no count has reported yet.
#[derive(Debug, Default)]
struct Pending {
    packets: u64,
    attempts: u64,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
}

/// Repetitions of an entry, to be reported in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repeats {
    /// The time that stands beside the entry.
    pub(super) of: SystemTime,
    pub(super) point: Point,
    pub(super) packets: u64,
    pub(super) attempts: u64,
    /// Both ends, without the client's port: the repetitions differ in it.
    pub(super) ends: String,
    pub(super) span: Duration,
    /// When the last of them happened.
    pub(super) until: SystemTime,
}

/// The entries so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    entries: VecDeque<Entry>,
    /// The entry that stands last on the screen, by its time and key; `None` if something else does.
    last: Option<Key>,
}

impl Story {
    /// What to do with a drop.
    pub(super) fn drop(&mut self, drop: &DropReport) -> Showing {
        let key = Key::of_drop(drop);
        if let Some(entry) = self.find(&key) {
            entry.remember(&drop.flow);
            // Its packets were counted with the verdict that it corrects.
            if drop.corrects.is_some() {
                return Showing::Hidden;
            }
            entry.pending.add(drop.ts, drop.count, 0);
            return Showing::Counted;
        }
        let mut entry = Entry::new(key.clone(), drop.ts, ends_of_drop(drop));
        entry.remember(&drop.flow);
        self.open(entry);
        Showing::Entry
    }

    /// What to do with an attempt; `answered` says whether those that worked are shown.
    pub(super) fn attempt(&mut self, attempt: &AttemptReport, answered: bool) -> Showing {
        let Some(verdict) = &attempt.verdict else {
            if attempt.outcome == Outcome::Answered && !answered && attempt.corrects.is_none() {
                return Showing::Hidden;
            }
            self.interrupted();
            return Showing::Entry;
        };
        if let Some(ending) = self.ending(attempt, verdict) {
            return ending;
        }
        let key = Key::of_attempt(attempt, verdict);
        if attempt.corrects.is_none()
            && let Some(entry) = self.find(&key)
        {
            entry.pending.add(attempt.ts, 0, 1);
            return Showing::Counted;
        }
        self.open(Entry::new(key, attempt.ts, ends_of_attempt(attempt)));
        Showing::Entry
    }

    /// Something that is neither stands on the screen now.
    pub(super) fn interrupted(&mut self) {
        self.last = None;
    }

    /// The counts that are due at this time; at the end of a trace, all that is left.
    pub(super) fn due(&mut self, now: SystemTime, is_end: bool) -> Vec<Repeats> {
        let due = self.entries.iter_mut().filter_map(|entry| {
            let since = entry.pending.since?;
            let waited = now.duration_since(since).unwrap_or_default();
            (is_end || waited >= entry.next_count).then(|| entry.count())?
        });
        let due: Vec<_> = due.collect();
        if !due.is_empty() {
            self.interrupted();
        }
        due
    }

    /// An attempt that a drop on the screen has decided.
    fn ending(&mut self, attempt: &AttemptReport, verdict: &Verdict) -> Option<Showing> {
        let last = self.last.clone();
        let entry = self.entries.iter_mut().find(|entry| {
            entry.key.kind == Kind::Drop
                && entry.key.explains(verdict)
                && entry.flows.iter().any(|flow| belongs(flow, attempt))
        })?;
        if std::mem::replace(&mut entry.ended, true) {
            entry.pending.add(attempt.ts, 0, 1);
            return Some(Showing::Counted);
        }
        let adjacent = last.as_ref() == Some(&entry.key);
        let of = entry.at;
        self.interrupted();
        Some(Showing::Ending { of, adjacent })
    }

    fn find(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.key == *key)
    }

    /// A new entry. What the oldest one had left to count is in the summary.
    fn open(&mut self, entry: Entry) {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.last = Some(entry.key.clone());
        self.entries.push_back(entry);
    }
}

impl Key {
    fn of_drop(drop: &DropReport) -> Self {
        Self {
            kind: Kind::Drop,
            cause: drop.verdict.cause(),
            fix: drop.verdict.fix.clone(),
            policies: said_of_policies(&drop.verdict),
            client: drop.flow.src,
            server: (drop.flow.dst, drop.flow.dport),
            place: drop.ifname.clone(),
        }
    }

    fn of_attempt(attempt: &AttemptReport, verdict: &Verdict) -> Self {
        Self {
            kind: Kind::Attempt(attempt.outcome),
            cause: verdict.cause(),
            fix: verdict.fix.clone(),
            policies: said_of_policies(verdict),
            client: attempt.flow.src,
            server: (attempt.flow.dst, attempt.flow.dport),
            place: attempt.hops.last().map(|hop| hop.ifname.clone()),
        }
    }

    /// Whether an attempt's verdict is the one of these drops.
    fn explains(&self, verdict: &Verdict) -> bool {
        verdict.blames(&self.cause) && self.fix == verdict.fix
    }
}

impl Entry {
    fn new(key: Key, at: SystemTime, ends: String) -> Self {
        Self {
            key,
            at,
            ends,
            flows: VecDeque::new(),
            ended: false,
            pending: Pending::default(),
            next_count: FIRST_COUNT,
        }
    }

    fn remember(&mut self, flow: &Flow) {
        if self.flows.contains(flow) {
            return;
        }
        if self.flows.len() >= MAX_FLOWS {
            self.flows.pop_front();
        }
        self.flows.push_back(*flow);
    }

    fn count(&mut self) -> Option<Repeats> {
        let Pending {
            packets,
            attempts,
            since,
            until,
        } = std::mem::take(&mut self.pending);
        self.next_count = (self.next_count * 2).min(LAST_COUNT);
        let (since, until) = (since?, until?);
        Some(Repeats {
            of: self.at,
            point: self.key.cause.point,
            packets,
            attempts,
            ends: self.ends.clone(),
            span: until.duration_since(since).unwrap_or_default(),
            until,
        })
    }
}

impl Pending {
    fn add(&mut self, at: SystemTime, packets: u64, attempts: u64) {
        self.packets = self.packets.saturating_add(packets);
        self.attempts = self.attempts.saturating_add(attempts);
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.until = Some(self.until.map_or(at, |until| until.max(at)));
    }
}

fn ends_of_drop(drop: &DropReport) -> String {
    let client = packet::end(drop.src_pod.as_ref(), drop.flow.src, None);
    let server = packet::end(drop.dst_pod.as_ref(), drop.flow.dst, drop.flow.dport);
    format!("{client} → {server}")
}

fn ends_of_attempt(attempt: &AttemptReport) -> String {
    let flow = &attempt.flow;
    let client = packet::end(attempt.src_pod.as_ref(), flow.src, None);
    let server = match packet::service_ends(attempt) {
        Some((service, _)) => service,
        None => packet::end(attempt.dst_pod.as_ref(), flow.dst, flow.dport),
    };
    format!("{client} → {server}")
}

/// The facts that name a policy which the verdict blames.
fn said_of_policies(verdict: &Verdict) -> Vec<String> {
    let blamed = verdict.policy.iter().flat_map(|policy| &policy.policies);
    let blamed: Vec<_> = blamed.collect();
    let names_one = |fact: &&String| blamed.iter().any(|name| fact.contains(name.as_str()));
    verdict.evidence.iter().filter(names_one).cloned().collect()
}

/// Whether a dropped packet's flow is one that the attempt had on its way, in either direction.
fn belongs(dropped: &Flow, attempt: &AttemptReport) -> bool {
    let hops = attempt.hops.iter().chain(&attempt.reply_hops);
    let seen = hops.filter_map(|hop| hop.flow.as_ref());
    [&attempt.flow]
        .into_iter()
        .chain(&attempt.translated)
        .chain(seen)
        .any(|flow| same(flow, dropped) || reversed(flow, dropped))
}

fn same(a: &Flow, b: &Flow) -> bool {
    (a.src, a.sport, a.dst, a.dport) == (b.src, b.sport, b.dst, b.dport)
}

fn reversed(a: &Flow, b: &Flow) -> bool {
    (a.src, a.sport, a.dst, a.dport) == (b.dst, b.dport, b.src, b.sport)
}

#[cfg(test)]
mod tests;
