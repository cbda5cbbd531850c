//! What opens a connection: the name that is asked for, and the handshake.

use super::{
    super::{Blamed, Layers, Tally, evidence::summed_up, opening::Opening},
    blocked, ok, row,
};
use crate::{
    model::{Dns, Layer, LayerResult, LayerRow, Outcome},
    words,
};

impl Layers {
    pub(super) fn dns_row(&self) -> LayerRow {
        let row = row(Layer::Dns, "answer");
        let Self { dns, .. } = self;
        if dns.all() == 0 {
            return self.unopened(row, Opening::Query);
        }
        let mut row = LayerRow {
            result: LayerResult::Ok,
            evidence: Some(summed_up(dns)),
            ..row
        };
        let refusals = dns.refusals();
        if dns.failures() > 0 {
            row.result = LayerResult::Failed;
            row.verdict = self.main_blame(|blamed| blamed.dns);
        } else if !refusals.is_empty() {
            row.result = LayerResult::Failed;
            row.verdict = Some(format!("the server says {}", refusals.join(" and ")));
        } else if dns.code("NXDOMAIN") == dns.all() {
            row.verdict = Some("no such name".to_owned());
        }
        row
    }

    pub(super) fn tcp_row(&self) -> LayerRow {
        let Self { tcp, .. } = self;
        // A stall is one of the data: its handshake was done.
        let test = match (tcp.failures(), tcp.count(Outcome::Stalled)) {
            (_, 0) => "handshake",
            (all, stalled) if all == stalled => "data",
            _ => "connection",
        };
        let row = row(Layer::Tcp, test);
        if tcp.all() == 0 {
            return match self.names_failed() {
                true => blocked(row, "DNS"),
                false => self.unopened(row, Opening::Handshake),
            };
        }
        if tcp.failures() > 0 {
            return LayerRow {
                result: LayerResult::Failed,
                evidence: Some(summed_up(tcp)),
                verdict: self.main_blame(|blamed| blamed.tcp),
                ..row
            };
        }
        let unwatched = self.unopened(row.clone(), Opening::Handshake);
        match (unwatched.result, unwatched.evidence) {
            (LayerResult::Failed, Some(refused)) => LayerRow {
                evidence: Some(format!("{}; {refused}", summed_up(tcp))),
                ..unwatched
            },
            _ => ok(row, summed_up(tcp)),
        }
    }

    /// What the drops alone say: a refusal is a failure. Of anything else, another try may have got
    /// through.
    fn unopened(&self, row: LayerRow, opening: Opening) -> LayerRow {
        let count = |is_refused: bool| {
            let of = |blamed: &Blamed| {
                u64::from(blamed.is_closed_port() == is_refused) * blamed.opening(opening)
            };
            let dropped = self.blamed.iter().map(of).sum();
            let packets = match opening {
                Opening::Handshake => words::count(dropped, "SYN"),
                Opening::Query if dropped == 1 => "1 query".to_owned(),
                Opening::Query => format!("{dropped} queries"),
            };
            let how = if is_refused { "refused" } else { "dropped" };
            (dropped > 0).then(|| format!("{packets} {how}"))
        };
        let (refused, dropped) = (count(true), count(false));
        let result = match refused {
            Some(_) => LayerResult::Failed,
            None => LayerResult::NotObserved,
        };
        let counts: Vec<_> = refused.into_iter().chain(dropped).collect();
        let weight = |blamed: &Blamed| {
            let count = blamed.opening(opening);
            (blamed.is_closed_port() && count > 0, count)
        };
        let Some(main) = self.by_weight(weight).into_iter().next() else {
            return row;
        };
        let example = main.opened.example.as_deref().unwrap_or_default();
        LayerRow {
            result,
            evidence: Some(format!("{}: {example}", counts.join(", "))),
            verdict: self.main_blame(|blamed| blamed.opening(opening)),
            ..row
        }
    }

    /// Whether a handshake was refused of which no more was seen than that.
    pub(super) fn is_refused_unwatched(&self) -> bool {
        let refused =
            |blamed: &Blamed| blamed.is_closed_port() && blamed.opening(Opening::Handshake) > 0;
        self.tcp.all() == 0 && self.blamed.iter().any(refused)
    }

    /// Whether names were asked for in vain, and nothing was tried without.
    pub(super) fn names_failed(&self) -> bool {
        let refused = !self.dns.refusals().is_empty();
        let resolved = self.dns.code("NOERROR") + self.dns.code("NXDOMAIN");
        self.tcp.all() == 0 && resolved == 0 && (self.dns.failures() > 0 || refused)
    }
}

impl Tally {
    /// Answers that say no more than that the server cannot or will not answer.
    pub(super) fn refusals(&self) -> Vec<&str> {
        let codes = self.codes.keys().map(String::as_str);
        codes.filter(|code| Dns::is_refusal(code)).collect()
    }

    pub(super) fn code(&self, code: &str) -> u64 {
        self.codes.get(code).copied().unwrap_or_default()
    }
}
