//! What a whole trace says of each layer, for the report at its end.
//!
//! - [`Layers`]: takes the records as they are printed, and keeps counts and examples only
//! - `tally`: what became of the attempts; `opening`: which drops were of first packets
//! - `rows`: the table, from what was kept
//!
//! Invariant: `ok` rests on something that was seen to work, and is said only where no failed
//! attempt can have failed at that layer; `failed` rests on a verdict that is more than possible.
//! Everything else is `blocked` by a layer before it, or `not observed`.

mod evidence;
mod opening;
mod rows;
mod tally;

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use self::{
    opening::Opened,
    tally::{Hellos, Tally},
};
use crate::{
    decode::tls::TlsCounts,
    model::{
        AttemptReport, Confidence, DropReport, OtherVerdict, Outcome, Point, TlsStage, Verdict,
    },
};

/// Attempts whose outcome can still change: as many as are followed at once.
const MAX_STANDING: usize = 1 << 14;
/// Different verdicts that are kept.
const MAX_BLAMED: usize = 256;

/// What the records so far say.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    tcp: Tally,
    dns: Tally,
    tls: Hellos,
    /// Answered connections that are known by their number only.
    unseen: u64,
    /// In order of appearance.
    blamed: Vec<Blamed>,
    /// The number of the next verdict.
    next: u64,
    /// What servers have not read, a sentence each.
    unread: Vec<String>,
    /// What a rule drops that is no part of any attempt, in words.
    apart: Option<String>,
    standing: HashMap<Id, Share>,
    /// The attempts of `standing`, oldest first.
    order: VecDeque<Id>,
}

/// What identifies an attempt: a hash of its time, flow and number.
type Id = u64;

/// A verdict, and how often it was given.
#[derive(Debug)]
struct Blamed {
    number: u64,
    verdict: Verdict,
    tcp: u64,
    dns: u64,
    drops: u64,
    /// Those of the drops that were first packets.
    opened: Opened,
}

/// What one attempt has added.
#[derive(Debug)]
struct Share {
    is_dns: bool,
    outcome: Outcome,
    open: bool,
    tunnel: bool,
    blocks: Option<Point>,
    code: Option<String>,
    tls: Option<TlsStage>,
    blamed: Option<u64>,
}

impl Layers {
    /// Takes what was seen of TLS in the whole trace.
    pub(crate) fn began_tls(&mut self, counts: TlsCounts) {
        self.tls.counts = counts;
    }

    /// Takes what servers have not read, a sentence each.
    pub(crate) fn unread(&mut self, unread: Vec<String>) {
        self.unread = unread;
    }

    /// Takes what a rule drops that is no part of any attempt, in words.
    pub(crate) fn dropped_apart(&mut self, what: String) {
        self.apart = Some(what);
    }

    /// Takes a drop.
    pub(crate) fn dropped(&mut self, drop: &DropReport) {
        self.blame_for_drops(drop, drop.count);
    }

    /// Takes a drop whose verdict was another one before for so many packets.
    pub(crate) fn corrected_drop(&mut self, before: &Verdict, drop: &DropReport, count: u64) {
        let cause = before.cause();
        let mut all = self.blamed.iter_mut();
        if let Some(blamed) = all.find(|known| known.verdict.blames(&cause)) {
            blamed.drops = blamed.drops.saturating_sub(count);
            blamed.opened.take_back(drop, count);
        }
        self.blame_for_drops(drop, count);
    }

    fn blame_for_drops(&mut self, drop: &DropReport, count: u64) {
        let number = self.blame(&drop.verdict);
        if let Some(blamed) = self.blamed(number) {
            blamed.drops = blamed.drops.saturating_add(count);
            blamed.opened.add(drop, count);
        }
    }

    /// Takes TCP attempts that were answered and are known by their number only.
    pub(crate) fn answered(&mut self, attempts: u64) {
        *self.tcp.outcomes.entry(Outcome::Answered).or_default() += attempts;
        self.unseen += attempts;
    }

    /// Takes an attempt; one that corrects an earlier record takes its place.
    pub(crate) fn attempted(&mut self, attempt: &AttemptReport) {
        let id = id(attempt);
        match (self.standing.remove(&id), attempt.corrects) {
            (Some(share), _) => self.take_back(id, &share),
            (None, Some(before)) => {
                let tally = self.tally(attempt.dns.is_some());
                if let Some(count) = tally.outcomes.get_mut(&before) {
                    *count = count.saturating_sub(1);
                }
                self.remember(id);
            }
            (None, None) => self.remember(id),
        }
        let share = self.share(attempt);
        self.tls.move_by(&share, |count| *count += 1);
        let tally = self.tally(share.is_dns);
        tally.move_by(&share, |count| *count += 1);
        let example = if attempt.outcome == Outcome::Answered {
            &mut tally.answered
        } else {
            &mut tally.failed
        };
        if example.is_none() {
            *example = Some((id, evidence::example(attempt)));
        }
        if let Some(number) = share.blamed {
            self.move_blame(number, share.is_dns, |count| *count += 1);
        }
        self.standing.insert(id, share);
    }

    /// The verdicts that are more than possible, by the failed attempts that they explain, then by the
    /// drops; of equal ones, the first comes first. The first of all is the main verdict. If attempts failed
    /// and no verdict explains one of them, there is no main verdict, and nothing is returned.
    pub(crate) fn verdicts(&self) -> Vec<OtherVerdict> {
        let failed = self.tcp.failures() + self.dns.failures() + self.tls.reset;
        let mut sure: Vec<&Blamed> = self
            .blamed
            .iter()
            .filter(|blamed| blamed.is_sure() && blamed.records() > 0)
            .collect();
        sure.sort_by_key(|blamed| Reverse((blamed.attempts(), blamed.drops)));
        if failed > 0 && sure.first().is_some_and(|main| main.attempts() == 0) {
            return Vec::new();
        }
        let of_attempts: Vec<&Verdict> = sure
            .iter()
            .filter(|blamed| blamed.attempts() > 0)
            .map(|blamed| &blamed.verdict)
            .collect();
        // A drop of an attempt's packet may say otherwise what the attempt's own verdict says.
        let is_its_own = |blamed: &&Blamed| {
            let same =
                |of: &&Verdict| of.point == blamed.verdict.point && of.rule != blamed.verdict.rule;
            blamed.attempts() > 0 || !of_attempts.iter().any(same)
        };
        sure.iter()
            .copied()
            .filter(is_its_own)
            .map(|blamed| OtherVerdict {
                verdict: blamed.verdict.clone(),
                attempts: blamed.attempts(),
                drops: blamed.drops,
            })
            .collect()
    }

    fn share(&mut self, attempt: &AttemptReport) -> Share {
        // The TCP handshake was done.
        let outcome = match attempt.tls {
            Some(TlsStage::Reset) => Outcome::Answered,
            _ => attempt.outcome,
        };
        let verdict = attempt.verdict.as_ref();
        let sure = verdict.filter(|verdict| is_sure(verdict));
        // What came back and got lost has been beyond what lost it.
        let reached = match outcome {
            Outcome::Answered | Outcome::Stalled => true,
            Outcome::Unanswered => !attempt.reply_hops.is_empty(),
            Outcome::Refused | Outcome::Rejected | Outcome::Unsent => false,
        };
        let elsewhere = sure.filter(|verdict| verdict.point != Point::OffNode);
        let mut hops = attempt.hops.iter().chain(&attempt.reply_hops);
        Share {
            is_dns: attempt.dns.is_some(),
            outcome,
            open: outcome != Outcome::Answered && elsewhere.is_none(),
            tunnel: hops.any(|hop| hop.outer.is_some()),
            blocks: elsewhere.filter(|_| !reached).map(|verdict| verdict.point),
            tls: attempt.tls.filter(|tls| match tls {
                TlsStage::Reset => true,
                TlsStage::Sent => outcome == Outcome::Stalled,
                TlsStage::Acknowledged | TlsStage::Answered => false,
            }),
            code: attempt.dns.as_ref().and_then(|dns| dns.rcode.clone()),
            blamed: verdict.map(|verdict| self.blame(verdict)),
        }
    }

    fn take_back(&mut self, id: Id, share: &Share) {
        self.tls
            .move_by(share, |count| *count = count.saturating_sub(1));
        let tally = self.tally(share.is_dns);
        tally.move_by(share, |count| *count = count.saturating_sub(1));
        for example in [&mut tally.answered, &mut tally.failed] {
            if example.as_ref().is_some_and(|(of, _)| *of == id) {
                *example = None;
            }
        }
        if let Some(number) = share.blamed {
            self.move_blame(number, share.is_dns, |count| {
                *count = count.saturating_sub(1);
            });
        }
    }

    fn remember(&mut self, id: Id) {
        self.order.push_back(id);
        if self.order.len() > MAX_STANDING
            && let Some(oldest) = self.order.pop_front()
        {
            self.standing.remove(&oldest);
        }
    }

    fn tally(&mut self, is_dns: bool) -> &mut Tally {
        if is_dns { &mut self.dns } else { &mut self.tcp }
    }

    fn move_blame(&mut self, number: u64, is_dns: bool, by: impl Fn(&mut u64)) {
        if let Some(blamed) = self.blamed(number) {
            by(if is_dns {
                &mut blamed.dns
            } else {
                &mut blamed.tcp
            });
        }
    }

    fn blamed(&mut self, number: u64) -> Option<&mut Blamed> {
        self.blamed
            .iter_mut()
            .find(|blamed| blamed.number == number)
    }

    /// The number of a verdict. Where there are too many, the weakest and rarest one is forgotten.
    fn blame(&mut self, verdict: &Verdict) -> u64 {
        let cause = verdict.cause();
        let same = |known: &&mut Blamed| known.verdict.blames(&cause);
        if let Some(known) = self.blamed.iter_mut().find(same) {
            if verdict.confidence > known.verdict.confidence {
                known.verdict = verdict.clone();
            }
            return known.number;
        }
        if self.blamed.len() >= MAX_BLAMED {
            let weight = |(_, known): &(usize, &Blamed)| {
                (known.is_sure(), known.tcp + known.dns, known.drops)
            };
            if let Some((weakest, _)) = self.blamed.iter().enumerate().min_by_key(weight) {
                self.blamed.remove(weakest);
            }
        }
        let number = self.next;
        self.next += 1;
        self.blamed.push(Blamed {
            number,
            verdict: verdict.clone(),
            tcp: 0,
            dns: 0,
            drops: 0,
            opened: Opened::default(),
        });
        number
    }
}

impl Blamed {
    fn is_sure(&self) -> bool {
        is_sure(&self.verdict)
    }

    fn attempts(&self) -> u64 {
        self.tcp + self.dns
    }

    fn records(&self) -> u64 {
        self.attempts() + self.drops
    }
}

fn id(attempt: &AttemptReport) -> Id {
    let mut hasher = DefaultHasher::new();
    (attempt.ts, &attempt.flow, attempt.isn).hash(&mut hasher);
    hasher.finish()
}

/// Whether a verdict may be acted on.
fn is_sure(verdict: &Verdict) -> bool {
    verdict.confidence >= Confidence::Likely && verdict.point != Point::Unknown
}

#[cfg(test)]
mod tests;
