//! What the server does with what reaches it.

use super::{
    super::{Blamed, Hellos, Layers},
    BEFORE_OVERLAY, NAMED, and_more, blocked, first_block, ok, row,
};
use crate::{
    model::{
        Layer, LayerResult, LayerRow, Outcome,
        Point::{self, Listener, Mtu, Overlay},
    },
    words,
};

impl Layers {
    pub(super) fn listener_row(&self) -> LayerRow {
        // Where no socket listens. Other drops of sockets have no row.
        let refused = self.tcp.count(Outcome::Refused) > 0;
        let own = |blamed: &Blamed| match blamed.verdict.point {
            Listener => true,
            Point::Socket => refused || blamed.is_closed_port(),
            _ => false,
        };
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

    pub(super) fn tls_row(&self) -> LayerRow {
        let row = row(Layer::Tls, "ClientHello");
        let Hellos {
            counts,
            unacknowledged,
            reset,
        } = self.tls;
        let unseen = (self.unseen > 0).then(|| {
            format!(
                "{} only counted, without a look at their data",
                words::count(self.unseen, "connection")
            )
        });
        if counts.hellos == 0 {
            return LayerRow {
                evidence: unseen,
                ..self.behind_handshake(row)
            };
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
        let with_unseen = |evidence: String| match &unseen {
            Some(unseen) => format!("{evidence}; {unseen}"),
            None => evidence,
        };
        if !lost.is_empty() {
            return LayerRow {
                result: LayerResult::Failed,
                evidence: Some(with_unseen(format!(
                    "{sent}: {}, {} answered",
                    lost.join(", "),
                    counts.answered
                ))),
                verdict: self.main_blame(|blamed| blamed.tcp).or_else(|| {
                    let silent = "the server acknowledged it, and no answer was seen";
                    (counts.silent > 0).then(|| silent.to_owned())
                }),
                ..row
            };
        }
        let evidence = with_unseen(format!("{sent}, {} answered", counts.answered));
        if counts.answered == counts.hellos {
            return ok(row, evidence);
        }
        LayerRow {
            evidence: Some(evidence),
            ..row
        }
    }

    /// What a server has not read is no failure of the network: there is a row only where something
    /// waits, and it accuses no one.
    pub(super) fn application_row(&self) -> Option<LayerRow> {
        let unread = &self.unread;
        let named: Vec<_> = unread.iter().take(NAMED).cloned().collect();
        (!named.is_empty()).then(|| LayerRow {
            evidence: Some(and_more(&named, unread.len(), "; ")),
            ..row(Layer::Application, "reads")
        })
    }
}
