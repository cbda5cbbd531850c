//! TCP, and what can be asked beside and behind it.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::sync::watch;

use super::{FOLLOWS, Rows, SOON, Walk};
use crate::probe::{
    layers::{self, tcp::Tried},
    plan::command::connect_to,
    send::connect,
    target::{Destination, Role},
};

/// After the time for an answer, so that the SYN's first retransmission is seen.
const GRACE: Duration = Duration::from_millis(200);

impl Walk {
    /// Connects to each address; the sizes of packets are tried meanwhile.
    pub(super) async fn transport(&self, all: &[Destination], rows: &Rows) -> Result<()> {
        let (found, reached) = watch::channel(None);
        let upper = async {
            let tried = try_join_all(all.iter().map(|to| self.connect(to))).await?;
            let up = tried.iter().filter(|one| one.is_connected());
            found.send_replace(Some(up.map(|one| one.to.socket).collect()));
            let planned = &self.plan.destinations;
            let not_ready: Vec<_> = planned.not_ready.iter().map(Destination::text).collect();
            rows.put(layers::tcp::layer(&tried, planned.left_out, &not_ready));
            self.flows_done(rows);
            let reached = tried.iter().filter(|one| one.is_connected());
            let first = reached.min_by_key(|one| one.to.role != Role::Front);
            let first = first.map(|one| one.to.socket);
            let (tls, application) = tokio::try_join!(self.tls(first), self.application(first))?;
            rows.put(tls);
            rows.put(application);
            Ok::<_, anyhow::Error>(tried)
        };
        let (tried, paths) = tokio::try_join!(upper, self.paths(all, &reached))?;
        self.traced_rows(&tried, &paths, rows);
        rows.put(layers::mtu::layer(&paths));
        Ok(())
    }

    async fn connect(&self, to: &Destination) -> Result<Tried> {
        let from = self.plan.source.address_for(to.socket.ip());
        let limit = self.timeout + GRACE;
        let connected = connect(&self.sockets, &self.observed, from, to.socket, limit).await?;
        let follows = if connected.result.is_ok() {
            SOON
        } else {
            FOLLOWS
        };
        Ok(Tried {
            to: to.clone(),
            test: self.shown(&connect_to(to.socket)),
            took: connected.took,
            attempt: self.observed.outcome(connected.own, follows).await,
            error: connected.result.err().map(|error| error.kind()),
        })
    }
}
