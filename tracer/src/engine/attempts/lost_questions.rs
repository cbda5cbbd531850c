//! Dropped packets of Neighbor Discovery: a SYN may have waited for them.

use std::{collections::VecDeque, net::IpAddr, time::SystemTime};

use crate::{decode::drop::DropFacts, verdict::attempts::LostQuestion};

/// How many are kept, the latest.
const CAPACITY: usize = 256;

#[derive(Debug, Default)]
pub(super) struct LostQuestions(VecDeque<(SystemTime, LostQuestion)>);

impl LostQuestions {
    /// Takes a drop, if it is one of these.
    pub(super) fn take(&mut self, facts: &DropFacts) {
        let Some(lost) = LostQuestion::of(facts) else {
            return;
        };
        // A question is sent again and again: the last time is enough.
        self.0.retain(|(_, known)| *known != lost);
        if self.0.len() >= CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back((facts.at, lost));
    }

    /// Those since this time, for the next hops of a packet.
    pub(super) fn since(&self, time: SystemTime, hops: &[IpAddr]) -> Vec<LostQuestion> {
        let all = self
            .0
            .iter()
            .filter(|(at, lost)| *at >= time && hops.contains(&lost.target));
        all.map(|(_, lost)| *lost).collect()
    }
}
