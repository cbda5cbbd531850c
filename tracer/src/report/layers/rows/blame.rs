//! Whom the verdicts blame.

use std::cmp::Reverse;

use super::{
    super::{Blamed, Layers},
    NAMED, and_more,
};
use crate::{
    model::{LayerResult, LayerRow, Point::Mtu},
    words,
};

impl Layers {
    /// A layer that failed where verdicts say so.
    pub(super) fn blamed_row(&self, row: LayerRow, own: impl Fn(&Blamed) -> bool) -> LayerRow {
        // Whether or not the MTU is the cause, that full-size data does not pass was seen.
        let weight = |blamed: &Blamed| {
            let seen = blamed.is_sure() || (blamed.verdict.point == Mtu && blamed.tcp > 0);
            if seen && own(blamed) {
                (blamed.tcp + blamed.dns, blamed.drops)
            } else {
                (0, 0)
            }
        };
        let all = self.by_weight(weight);
        let Some(main) = all.first() else {
            return row;
        };
        let much = |blamed: &Blamed| match (blamed.attempts(), blamed.drops) {
            (0, drops) => words::count(drops, "packet"),
            (attempts, _) => words::count(attempts, "attempt"),
        };
        let evidence = match all.as_slice() {
            [only] => only.verdict.why.clone(),
            several => {
                let each = several.iter().take(NAMED);
                let each = each.map(|one| format!("{} ({})", one.verdict.why, much(one)));
                and_more(&each.collect::<Vec<_>>(), several.len(), "; ")
            }
        };
        let attempts: u64 = all.iter().map(|blamed| blamed.attempts()).sum();
        let drops: u64 = all.iter().map(|blamed| blamed.drops).sum();
        let sum = match (attempts, drops) {
            (0, drops) => words::count(drops, "packet"),
            (attempts, _) => words::count(attempts, "attempt"),
        };
        LayerRow {
            result: LayerResult::Failed,
            evidence: Some(evidence),
            verdict: Some(format!("{}, {sum}", blame(main))),
            ..row
        }
    }

    /// Whom these verdicts blame, the most frequent first.
    pub(super) fn main_blame(&self, weight: impl Fn(&Blamed) -> u64) -> Option<String> {
        let sure = |blamed: &Blamed| weight(blamed) * u64::from(blamed.is_sure());
        let mut all = self.by_weight(sure);
        if all.is_empty() {
            all = self.by_weight(weight);
        }
        let mut named: Vec<String> = Vec::new();
        for blamed in all {
            let name = blame(blamed);
            if !named.contains(&name) {
                named.push(name);
            }
        }
        let of = named.len();
        named.truncate(NAMED);
        (of > 0).then(|| and_more(&named, of, ", "))
    }

    /// The verdicts with any weight, those with the most first; of equal ones, in order of appearance.
    pub(super) fn by_weight<W: Ord + Default>(
        &self,
        weight: impl Fn(&Blamed) -> W,
    ) -> Vec<&Blamed> {
        let mut all: Vec<&Blamed> = self
            .blamed
            .iter()
            .filter(|blamed| weight(blamed) > W::default())
            .collect();
        all.sort_by_key(|blamed| Reverse(weight(blamed)));
        all
    }
}

fn blame(blamed: &Blamed) -> String {
    let (point, confidence) = (blamed.verdict.point, blamed.verdict.confidence);
    format!("{} ({})", point.name(), confidence.name())
}
