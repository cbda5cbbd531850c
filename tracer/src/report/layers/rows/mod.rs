//! The rows of the table, one function for each layer.
//!
//! - `opening`: DNS and TCP
//! - `way`: policy, firewall, overlay and MTU
//! - `server`: listener, TLS and application
//! - `blame`: which verdicts a row names

mod blame;
mod opening;
mod server;
mod way;

use super::{Layers, Tally};
use crate::model::{
    Layer, LayerResult, LayerRow, Outcome,
    Point::{self, Checksum, Conntrack, Endpoint, Firewall, Listener, Mtu, Overlay, Policy},
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
            self.blamed_row(row(Layer::Policy, "admitted"), |blamed| {
                blamed.verdict.point == Policy
            }),
            self.firewall_row(complete),
            self.overlay_row(has_tunnels),
            self.mtu_row(),
            self.listener_row(),
            self.tls_row(),
        ];
        rows.extend(self.application_row());
        rows
    }

    /// A layer that nothing reaches before a handshake is done.
    pub(super) fn behind_handshake(&self, row: LayerRow) -> LayerRow {
        if self.tcp.all() == 0 {
            return match (self.names_failed(), self.is_refused_unwatched()) {
                (true, _) => blocked(row, "DNS"),
                (_, true) => blocked(row, "TCP"),
                _ => row,
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

    /// The first of these points at which a packet of either protocol was lost.
    fn block(&self, path: &[Point], tunnel: impl Fn(bool) -> bool + Copy) -> Option<Point> {
        first_block(&self.tcp, path, tunnel).or_else(|| first_block(&self.dns, path, tunnel))
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
