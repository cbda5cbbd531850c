//! What servers have not read at the end of a trace: a handshake alone does not show that.

use std::net::SocketAddr;

use super::Attempts;
use crate::{
    attempt::Attempt,
    decode::sighting::AttemptKey,
    engine::{interfaces::Interfaces, knowledge::Context, queries::Purpose},
    model::Outcome,
    node::{query::Query, unread::Connection},
};

/// Connections that are looked at.
const MOST: usize = 64;

impl Attempts {
    /// Asks whether servers on this node have read what they got, by the latest connections.
    pub(crate) fn ask_what_is_unread(&self, cx: &mut Context<'_>) {
        let mut open: Vec<_> = self
            .table
            .iter()
            .filter(|(key, attempt)| matches!(key, AttemptKey::Tcp(_)) && is_open(attempt))
            .filter_map(|(_, attempt)| Some((attempt.first_at, server(attempt, cx.interfaces)?)))
            .collect();
        open.sort_by_key(|(first_at, _)| std::cmp::Reverse(*first_at));
        open.truncate(MOST);
        if !open.is_empty() {
            let of = open.into_iter().map(|(_, connection)| connection).collect();
            cx.ask(Purpose::Unread, Query::Unread(of));
        }
    }
}

/// Whether its handshake is done.
fn is_open(attempt: &Attempt) -> bool {
    matches!(
        attempt.outcome(),
        Some(Outcome::Answered | Outcome::Stalled)
    )
}

/// The connection at its server, if that is in a watched namespace.
fn server(attempt: &Attempt, interfaces: &Interfaces) -> Option<Connection> {
    let last = attempt.last_hop()?;
    let end = |ip, port| SocketAddr::new(ip, port);
    let local = end(last.flow.dst.into(), last.flow.dport);
    interfaces
        .is_local(last.place.netns, local.ip())
        .then(|| Connection {
            netns: last.place.netns,
            local,
            remote: end(last.flow.src.into(), last.flow.sport),
        })
}
