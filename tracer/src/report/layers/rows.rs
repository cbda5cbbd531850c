//! The rows of the table, one function for each layer.

use std::cmp::Reverse;

use super::{Blamed, Hellos, Layers, Tally, evidence::summed_up};
use crate::{
    model::{
        Dns, Layer, LayerResult, LayerRow, Outcome,
        Point::{self, Checksum, Conntrack, Endpoint, Firewall, Listener, Mtu, Overlay, Policy},
    },
    words,
};

/// Causes that a row names.
const NAMED: usize = 3;

/// The points that an opening packet passes on its way, so that what is behind one of them is not
/// reached when it is lost there. The overlay divides them: what is before it, is before the tunnel.
const BEFORE_OVERLAY: [Point; 8] = [
    Policy,
    Firewall,
    Point::Route,
    Conntrack,
    Point::Rpfilter,
    Point::Queue,
    Endpoint,
    Checksum,
];

impl Layers {
    /// The table. `complete` says whether every drop and every attempt was shown, and no event was
    /// lost: otherwise, no absence is claimed. `has_tunnels` says whether there is an overlay here.
    pub(crate) fn rows(&self, complete: bool, has_tunnels: bool) -> Vec<LayerRow> {
        let mut rows = vec![
            self.dns_row(),
            self.tcp_row(),
            self.blamed_row(row(Layer::Policy, "admitted"), |point| point == Policy),
            self.firewall_row(complete),
            self.overlay_row(has_tunnels),
            self.mtu_row(),
            self.listener_row(),
            self.tls_row(),
        ];
        rows.extend(self.application_row());
        rows
    }

    /// What a server has not read is no failure of the network: there is a row only where something
    /// waits, and it accuses no one.
    fn application_row(&self) -> Option<LayerRow> {
        let unread = &self.unread;
        let named: Vec<_> = unread.iter().take(NAMED).cloned().collect();
        (!named.is_empty()).then(|| LayerRow {
            evidence: Some(and_more(&named, unread.len(), "; ")),
            ..row(Layer::Application, "reads")
        })
    }

    fn dns_row(&self) -> LayerRow {
        let row = row(Layer::Dns, "answer");
        let Self { dns, .. } = self;
        if dns.all() == 0 {
            return row;
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

    fn tcp_row(&self) -> LayerRow {
        let row = row(Layer::Tcp, "handshake");
        let Self { tcp, .. } = self;
        if tcp.all() == 0 {
            return if self.names_failed() {
                blocked(row, "DNS")
            } else {
                row
            };
        }
        let failed = tcp.failures() > 0;
        LayerRow {
            result: if failed {
                LayerResult::Failed
            } else {
                LayerResult::Ok
            },
            evidence: Some(summed_up(tcp)),
            verdict: self.main_blame(|blamed| blamed.tcp).filter(|_| failed),
            ..row
        }
    }

    /// Only an attempt that got through shows that no rule was in its way.
    fn firewall_row(&self, complete: bool) -> LayerRow {
        let row = self.blamed_row(row(Layer::Firewall, "rules"), |point| point == Firewall);
        if row.result == LayerResult::Failed {
            return row;
        }
        if self.block(&[Policy], |_| true).is_some() {
            return blocked(row, Policy.name());
        }
        // Queries that pass say nothing of handshakes that do not.
        let seen =
            [&self.tcp, &self.dns].map(|tally| (tally.all(), tally.count(Outcome::Answered)));
        let untested = seen.iter().any(|(all, through)| *all > 0 && *through == 0);
        let through: u64 = seen.iter().map(|(_, through)| through).sum();
        let open = self.tcp.open(|_, _| true) + self.dns.open(|_, _| true);
        let accused = |blamed: &Blamed| {
            matches!(blamed.verdict.point, Firewall | Policy) && blamed.records() > 0
        };
        if through == 0 || untested || open > 0 || !complete || self.blamed.iter().any(accused) {
            return row;
        }
        ok(
            row,
            format!(
                "{} got through; no drop by netfilter, tc or XDP was seen, and 0 events were lost",
                words::count(through, "attempt")
            ),
        )
    }

    fn overlay_row(&self, has_tunnels: bool) -> LayerRow {
        let row = self.blamed_row(row(Layer::Overlay, "tunnel"), |point| point == Overlay);
        if row.result == LayerResult::Failed {
            return row;
        }
        let through = self.tcp.through_tunnel + self.dns.through_tunnel;
        let tunnelled = |_, tunnel| tunnel;
        let open = self.tcp.open(tunnelled) + self.dns.open(tunnelled);
        if open > 0 {
            let other = match through {
                0 => String::new(),
                _ => format!("; {} got through", words::count(through, "other")),
            };
            let evidence = format!(
                "{} went into a tunnel, and where it ended was not seen{other}",
                words::count(open, "attempt")
            );
            return LayerRow {
                evidence: Some(evidence),
                ..row
            };
        }
        if through > 0 {
            return ok(
                row,
                format!(
                    "{} answered through a tunnel",
                    words::count(through, "attempt")
                ),
            );
        }
        match self.block(&BEFORE_OVERLAY, |tunnel| !tunnel) {
            Some(point) if has_tunnels => blocked(row, point.name()),
            _ => row,
        }
    }

    /// That full-size packets pass is not in the records: this layer is never `ok`.
    fn mtu_row(&self) -> LayerRow {
        let row = self.blamed_row(row(Layer::Mtu, "full size"), |point| point == Mtu);
        if row.result == LayerResult::Failed {
            return row;
        }
        self.behind_handshake(row)
    }

    fn listener_row(&self) -> LayerRow {
        // A socket that a handshake was refused by. Other sockets have no row.
        let refused = self.tcp.count(Outcome::Refused) > 0;
        let own = |point| point == Listener || (refused && point == Point::Socket);
        let row = self.blamed_row(row(Layer::Listener, "accept"), own);
        if row.result == LayerResult::Failed {
            return row;
        }
        let done = self.tcp.handshakes();
        let open = self.tcp.open(|outcome, _| outcome != Outcome::Stalled);
        if done > 0 && open == 0 {
            return ok(row, format!("{} done", words::count(done, "handshake")));
        }
        if done > 0 {
            return row;
        }
        if self.names_failed() {
            return blocked(row, "DNS");
        }
        match first_block(
            &self.tcp,
            &[&BEFORE_OVERLAY[..], &[Overlay, Mtu]].concat(),
            |_| true,
        ) {
            Some(point) => blocked(row, point.name()),
            None => row,
        }
    }

    fn tls_row(&self) -> LayerRow {
        let row = row(Layer::Tls, "ClientHello");
        let Hellos {
            counts,
            unacknowledged,
            reset,
        } = self.tls;
        if counts.hellos == 0 {
            return self.behind_handshake(row);
        }
        let lost = [
            (unacknowledged, "never acknowledged"),
            (counts.silent, "acknowledged, but not answered"),
            (reset, "answered with a RST"),
        ];
        let lost = lost.iter().filter(|(count, _)| *count > 0);
        let lost: Vec<_> = lost
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        let sent = words::count(counts.hellos, "ClientHello");
        if !lost.is_empty() {
            return LayerRow {
                result: LayerResult::Failed,
                evidence: Some(format!(
                    "{sent}: {}, {} answered",
                    lost.join(", "),
                    counts.answered
                )),
                verdict: self.main_blame(|blamed| blamed.tcp).or_else(|| {
                    let silent = "the server acknowledged it, and no answer was seen";
                    (counts.silent > 0).then(|| silent.to_owned())
                }),
                ..row
            };
        }
        let evidence = format!("{sent}, {} answered", counts.answered);
        if counts.answered == counts.hellos {
            return ok(row, evidence);
        }
        LayerRow {
            evidence: Some(evidence),
            ..row
        }
    }

    /// A layer that nothing reaches before a handshake is done.
    fn behind_handshake(&self, row: LayerRow) -> LayerRow {
        if self.tcp.all() == 0 {
            return if self.names_failed() {
                blocked(row, "DNS")
            } else {
                row
            };
        }
        if self.tcp.count(Outcome::Answered) > 0 {
            return row;
        }
        let stalled = self.tcp.count(Outcome::Stalled) > 0;
        let path = [&BEFORE_OVERLAY[..], &[Overlay, Mtu, Listener]].concat();
        match first_block(&self.tcp, &path, |_| true) {
            // What does not get through after the handshake may be the very layer in question.
            _ if stalled => row,
            Some(point) => blocked(row, point.name()),
            None => blocked(row, "TCP"),
        }
    }

    /// A layer that failed where verdicts say so.
    fn blamed_row(&self, row: LayerRow, own: impl Fn(Point) -> bool) -> LayerRow {
        // Whether or not the MTU is the cause, that full-size data does not pass was seen.
        let weight = |blamed: &Blamed| {
            let seen = blamed.is_sure() || (blamed.verdict.point == Mtu && blamed.tcp > 0);
            if seen && own(blamed.verdict.point) {
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
    fn main_blame(&self, weight: impl Fn(&Blamed) -> u64) -> Option<String> {
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
    fn by_weight<W: Ord + Default>(&self, weight: impl Fn(&Blamed) -> W) -> Vec<&Blamed> {
        let mut all: Vec<&Blamed> = self
            .blamed
            .iter()
            .filter(|blamed| weight(blamed) > W::default())
            .collect();
        all.sort_by_key(|blamed| Reverse(weight(blamed)));
        all
    }

    /// The first of these points at which a packet of either protocol was lost.
    fn block(&self, path: &[Point], tunnel: impl Fn(bool) -> bool + Copy) -> Option<Point> {
        first_block(&self.tcp, path, tunnel).or_else(|| first_block(&self.dns, path, tunnel))
    }

    /// Whether names were asked for in vain, and nothing was tried without.
    fn names_failed(&self) -> bool {
        let refused = !self.dns.refusals().is_empty();
        let resolved = self.dns.code("NOERROR") + self.dns.code("NXDOMAIN");
        self.tcp.all() == 0 && resolved == 0 && (self.dns.failures() > 0 || refused)
    }
}

impl Tally {
    /// Answers that say no more than that the server cannot or will not answer.
    fn refusals(&self) -> Vec<&str> {
        let codes = self.codes.keys().map(String::as_str);
        codes.filter(|code| Dns::is_refusal(code)).collect()
    }

    fn code(&self, code: &str) -> u64 {
        self.codes.get(code).copied().unwrap_or_default()
    }
}

fn first_block(tally: &Tally, path: &[Point], tunnel: impl Fn(bool) -> bool) -> Option<Point> {
    let lost = |point: &Point| {
        tally
            .blocks
            .iter()
            .any(|((at, through), count)| at == point && tunnel(*through) && *count > 0)
    };
    path.iter().copied().find(lost)
}

fn row(layer: Layer, test: &'static str) -> LayerRow {
    LayerRow {
        layer,
        test: test.into(),
        result: LayerResult::NotObserved,
        evidence: None,
        verdict: None,
    }
}

fn ok(row: LayerRow, evidence: String) -> LayerRow {
    LayerRow {
        result: LayerResult::Ok,
        evidence: Some(evidence),
        ..row
    }
}

fn blocked(row: LayerRow, by: &str) -> LayerRow {
    LayerRow {
        result: LayerResult::Blocked,
        verdict: Some(format!("blocked by {by}")),
        ..row
    }
}

/// Those that are named, and how many more there are.
fn and_more(named: &[String], of: usize, between: &str) -> String {
    let more = of.saturating_sub(named.len());
    let named = named.join(between);
    match more {
        0 => named,
        more => format!("{named}{between}and {more} more"),
    }
}

fn blame(blamed: &Blamed) -> String {
    let (point, confidence) = (blamed.verdict.point, blamed.verdict.confidence);
    format!("{} ({})", point.name(), confidence.name())
}
