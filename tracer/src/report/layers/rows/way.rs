//! What a packet meets on its way: rules, tunnels, MTUs.

use super::{
    super::{Blamed, Layers},
    BEFORE_OVERLAY, blocked, ok, row,
};
use crate::{
    model::{
        Layer, LayerResult, LayerRow, Outcome,
        Point::{Firewall, Mtu, Overlay, Policy},
    },
    words,
};

impl Layers {
    /// Only an attempt that got through shows that no rule was in its way.
    pub(super) fn firewall_row(&self, complete: bool) -> LayerRow {
        let row = self.blamed_row(row(Layer::Firewall, "rules"), |blamed| {
            blamed.verdict.point == Firewall
        });
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
        let through = words::count(through, "attempt");
        let drops = match &self.apart {
            Some(apart) => format!("{apart}; no other drop"),
            None => "no drop".to_owned(),
        };
        ok(
            row,
            format!(
                "{through} got through; {drops} by netfilter, tc or XDP was seen, and 0 events were lost"
            ),
        )
    }

    pub(super) fn overlay_row(&self, has_tunnels: bool) -> LayerRow {
        let row = self.blamed_row(row(Layer::Overlay, "tunnel"), |blamed| {
            blamed.verdict.point == Overlay
        });
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
    pub(super) fn mtu_row(&self) -> LayerRow {
        let row = self.blamed_row(row(Layer::Mtu, "full size"), |blamed| {
            blamed.verdict.point == Mtu
        });
        if row.result == LayerResult::Failed {
            return row;
        }
        self.behind_handshake(row)
    }
}
