//! What became of attempts and ClientHellos, by number.

use std::collections::BTreeMap;

use super::{Id, Share};
use crate::{
    decode::tls::TlsCounts,
    model::{Outcome, Point, TlsStage},
};

/// The attempts of one protocol.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    /// Failures that may be any layer's, by outcome and whether a tunnel was seen.
    pub(super) open: BTreeMap<(Outcome, bool), u64>,
    /// Failures behind which nothing was reached, by point and whether a tunnel was seen.
    pub(super) blocks: BTreeMap<(Point, bool), u64>,
    /// Those answered through a tunnel.
    pub(super) through_tunnel: u64,
    /// Codes of DNS answers.
    pub(super) codes: BTreeMap<String, u64>,
    pub(super) answered: Option<(Id, String)>,
    pub(super) failed: Option<(Id, String)>,
}

/// ClientHellos.
#[derive(Debug, Default)]
pub(super) struct Hellos {
    /// What was seen of all of them.
    pub(super) counts: TlsCounts,
    /// Those never acknowledged, of connections that have stalled.
    pub(super) unacknowledged: u64,
    /// Those answered with a RST.
    pub(super) reset: u64,
}

impl Hellos {
    pub(super) fn move_by(&mut self, share: &Share, by: impl Fn(&mut u64)) {
        match share.tls {
            Some(TlsStage::Reset) => by(&mut self.reset),
            Some(_) => by(&mut self.unacknowledged),
            None => {}
        }
    }
}

impl Tally {
    pub(super) fn move_by(&mut self, share: &Share, by: impl Fn(&mut u64)) {
        by(self.outcomes.entry(share.outcome).or_default());
        if share.open {
            let key = (share.outcome, share.tunnel);
            by(self.open.entry(key).or_default());
        }
        if let Some(point) = share.blocks {
            by(self.blocks.entry((point, share.tunnel)).or_default());
        }
        if share.tunnel && share.outcome == Outcome::Answered {
            by(&mut self.through_tunnel);
        }
        if let Some(code) = &share.code {
            by(self.codes.entry(code.clone()).or_default());
        }
    }

    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    pub(super) fn all(&self) -> u64 {
        self.outcomes.values().sum()
    }

    pub(super) fn failures(&self) -> u64 {
        self.all() - self.count(Outcome::Answered)
    }

    /// Handshakes that were done, whatever became of the data.
    pub(super) fn handshakes(&self) -> u64 {
        self.count(Outcome::Answered) + self.count(Outcome::Stalled)
    }

    pub(super) fn open(&self, of: impl Fn(Outcome, bool) -> bool) -> u64 {
        let open = self.open.iter();
        open.filter(|((outcome, tunnel), _)| of(*outcome, *tunnel))
            .map(|(_, count)| count)
            .sum()
    }
}
