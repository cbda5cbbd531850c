//! The end of a trace.

use std::{borrow::Cow, collections::BTreeMap, time::SystemTime};

use super::{Cause, Outcome, Point, Verdict};

/// What a whole trace comes to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// When the trace ended.
    pub ts: Option<SystemTime>,
    /// What this node is called, as far as the trace has learned it.
    pub node: Option<String>,
    /// When an interface of the watched namespaces had no probes: it was new, or could not be attached
    /// to.
    pub unwatched: Vec<Span>,
    /// Matching drops, counted in the kernel; exact. Noise is not among them.
    pub drops: u64,
    /// Those of `drops` that a drop report stood for.
    pub shown: u64,
    /// Records that were not shown each, but counted in `more` records.
    pub folded: u64,
    /// Answered attempts that have no record: the kernel programs only counted them. They are among
    /// `attempts`.
    pub counted: u64,
    /// Events that found the ring buffer full. Their drops are still counted in `drops`.
    pub lost: u64,
    /// Matching drops that healthy traffic makes too, hidden without `--noise`.
    pub noise: u64,
    /// Those of `drops` that healthy traffic makes too; with `--noise` only.
    pub noise_shown: u64,
    /// Packets that claimed to be IP but could not be parsed.
    pub malformed: u64,
    /// Connection attempts, by outcome; a corrected one counts under its last outcome.
    pub attempts: BTreeMap<Outcome, u64>,
    /// SYNs that found the table of attempts full, and were not followed.
    pub untracked: u64,
    /// The verdicts given, most frequent first.
    pub verdicts: Vec<VerdictCount>,
    /// What the trace says of each layer.
    pub layers: Vec<LayerRow>,
    /// The main verdict: the most frequent one over the failed attempts that is more than possible;
    /// where no attempt failed, the most frequent one over the drops.
    pub verdict: Option<Verdict>,
    /// How many failed attempts, or else drops, the main verdict explains.
    pub verdict_count: u64,
    /// The other verdicts that are more than possible, most frequent first, as many as a reader can
    /// act on.
    pub also: Vec<OtherVerdict>,
}

/// Another verdict of a trace, besides the main one.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// How many attempts it explains.
    pub attempts: u64,
    /// How many drops it explains.
    pub drops: u64,
}

impl OtherVerdict {
    /// The attempts that it explains, or else the drops.
    pub fn count(&self) -> u64 {
        match self.attempts {
            0 => self.drops,
            attempts => attempts,
        }
    }
}

/// A span of time, by the node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub from: SystemTime,
    /// When it was over.
    pub to: SystemTime,
}

/// How many verdicts a summary distinguishes; a trace may run for days.
const VERDICTS: usize = 1000;
/// What stands for all others.
const OTHERS: &str = "other reasons, too many to list";

impl Summary {
    /// Counts a verdict; beyond the first thousand, under a common sentence for each point.
    pub fn tally(&mut self, verdict: &Verdict, count: u64) {
        let is_full = self.verdicts.len() >= VERDICTS;
        let known = self.position(verdict);
        let known = known.or_else(|| self.position_of_others(verdict).filter(|_| is_full));
        if let Some(known) = known {
            let known = &mut self.verdicts[known];
            known.count = known.count.saturating_add(count);
            return;
        }
        self.verdicts.push(VerdictCount {
            point: verdict.point,
            count,
            why: if is_full { OTHERS } else { &verdict.why }.to_owned(),
            cause: (!is_full).then(|| verdict.cause()),
        });
    }

    /// Takes back a verdict that was counted once.
    pub fn take_back(&mut self, verdict: &Verdict, count: u64) {
        let known = self.position(verdict);
        let Some(at) = known.or_else(|| self.position_of_others(verdict)) else {
            return;
        };
        let known = &mut self.verdicts[at];
        known.count = known.count.saturating_sub(count);
        if known.count == 0 {
            self.verdicts.remove(at);
        }
    }

    /// Where a verdict is counted.
    fn position(&self, verdict: &Verdict) -> Option<usize> {
        self.verdicts.iter().position(|known| {
            let cause = known.cause.as_ref();
            cause.is_some_and(|cause| verdict.blames(cause))
        })
    }

    /// Where all other verdicts of its point are counted.
    fn position_of_others(&self, verdict: &Verdict) -> Option<usize> {
        let mut all = self.verdicts.iter();
        all.position(|known| known.cause.is_none() && known.point == verdict.point)
    }
}

/// How often one verdict was given.
#[derive(Debug, Clone)]
pub struct VerdictCount {
    /// Where the packets were lost.
    pub point: Point,
    /// How many packets or attempts it explains.
    pub count: u64,
    /// One sentence: that of the first of them.
    pub why: String,
    /// What they have in common; `None` where they are all others.
    pub cause: Option<Cause>,
}

/// What a trace says of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRow {
    /// The layer.
    pub layer: Layer,
    /// What would show that the layer works.
    pub test: Cow<'static, str>,
    /// What was seen of that.
    pub result: LayerResult,
    /// What the result rests on.
    pub evidence: Option<String>,
    /// Who is to blame, or what the layer is blocked by.
    pub verdict: Option<String>,
}

/// What has to work for a connection, one on top of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Layer {
    Dns,
    Tcp,
    Policy,
    Firewall,
    Overlay,
    Mtu,
    Listener,
    Tls,
    Application,
}

impl Layer {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Tcp => "TCP",
            Self::Policy => "policy",
            Self::Firewall => "firewall",
            Self::Overlay => "overlay",
            Self::Mtu => "MTU",
            Self::Listener => "listener",
            Self::Tls => "TLS",
            Self::Application => "application",
        }
    }
}

/// What was seen of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerResult {
    /// It was seen to work, and no failure can be its own.
    Ok,
    /// It was seen to fail.
    Failed,
    /// A layer before it failed, so that it was never reached.
    Blocked,
    /// Nothing seen says anything of it.
    NotObserved,
    /// It was not tested, or what was seen does not say. Of a probe only.
    Skipped,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Confidence;

    fn verdict(why: &str, subject: &str) -> Verdict {
        Verdict {
            rule: Some("mtu".into()),
            subject: subject.to_owned(),
            ..Verdict::new(Point::Mtu, Confidence::Confirmed, why)
        }
    }

    #[test]
    fn verdicts_of_one_cause_are_counted_together_whatever_their_figures() {
        let mut summary = Summary::default();
        summary.tally(&verdict("1400 bytes at eth0", "eth0"), 2);
        summary.tally(&verdict("1401 bytes at eth0", "eth0"), 3);
        summary.tally(&verdict("1400 bytes at eth1", "eth1"), 1);
        let counts: Vec<_> = summary.verdicts.iter().map(|known| known.count).collect();
        assert_eq!(counts, [5, 1]);
    }

    #[test]
    fn a_verdict_that_is_taken_back_is_not_listed() {
        let mut summary = Summary::default();
        summary.tally(&verdict("1400 bytes at eth0", "eth0"), 1);
        summary.tally(&verdict("1400 bytes at eth1", "eth1"), 2);
        summary.take_back(&verdict("1401 bytes at eth0", "eth0"), 1);
        summary.take_back(&verdict("1400 bytes at eth1", "eth1"), 1);
        let counts: Vec<_> = summary.verdicts.iter().map(|known| known.count).collect();
        assert_eq!(counts, [1]);
    }

    #[test]
    fn the_number_of_distinct_verdicts_is_bounded() {
        let mut summary = Summary::default();
        for n in 0..VERDICTS + 5 {
            summary.tally(&verdict("dropped", &n.to_string()), 1);
        }
        assert_eq!(summary.verdicts.len(), VERDICTS + 1);
        let others = summary.verdicts.last().expect("the others");
        assert_eq!((others.count, others.why.as_str()), (5, OTHERS));
    }
}
