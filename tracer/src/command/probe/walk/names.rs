//! DNS, as the source would ask.

use anyhow::Result;
use futures_util::future::try_join_all;

use super::{FOLLOWS, SOON, Walk};
use crate::probe::{
    layers::dns::{Queries, Query},
    plan::command::dig,
    send::{Asked, ask, ask_by_tcp},
    target::Destination,
};

impl Walk {
    /// Asks for the name: the first server as the resolver does, and then every other server and
    /// endpoint for the name that was found.
    pub(super) async fn queries(&self) -> Result<Queries> {
        let Ok(plan) = &self.plan.dns else {
            return Ok(Queries::default());
        };
        let mut queries = Queries::default();
        let Some((first, others)) = plan.servers.split_first() else {
            return Ok(queries);
        };
        for name in &plan.candidates {
            let (v4, v6) = tokio::try_join!(
                self.ask(first, (name, false), false),
                self.ask(first, (name, true), false)
            )?;
            let ends =
                v4.has_address() || v6.has_address() || v4.result.is_err() || v6.result.is_err();
            queries.walk.extend([v4, v6]);
            if ends {
                break;
            }
        }
        let truncated = queries
            .walk
            .iter_mut()
            .find(|query| query.result.as_ref().is_ok_and(|reply| reply.is_truncated));
        if let Some(query) = truncated {
            *query = self
                .ask(first, (&query.name.clone(), query.is_aaaa), true)
                .await?;
        }
        let resolved = queries.resolved().map(str::to_owned);
        let name = resolved.or_else(|| plan.candidates.last().cloned());
        let Some(name) = name else {
            return Ok(queries);
        };
        // The family that has an address is the one to compare.
        let is_aaaa = queries.addresses().first().is_some_and(|ip| ip.is_ipv6());
        let asked = |to| self.ask(to, (&name, is_aaaa), false);
        (queries.servers, queries.replicas) = tokio::try_join!(
            try_join_all(others.iter().map(asked)),
            try_join_all(plan.replicas.iter().map(asked))
        )?;
        Ok(queries)
    }

    async fn ask(&self, to: &Destination, question: (&str, bool), is_tcp: bool) -> Result<Query> {
        let (sockets, observed) = (&self.sockets, &self.observed);
        let (from, server) = (self.plan.source.address_for(to.socket.ip()), to.socket);
        let asked = match is_tcp {
            true => ask_by_tcp(sockets, observed, from, server, question, self.timeout).await?,
            false => ask(sockets, observed, from, server, question, self.timeout).await?,
        };
        let command = dig(server, question.0, question.1, is_tcp);
        let test = self.shown(&command);
        Ok(self.query(to, (asked, test), is_tcp).await)
    }

    async fn query(&self, to: &Destination, (asked, test): (Asked, String), is_tcp: bool) -> Query {
        let attempt = match &asked.result {
            Ok(_) => self.observed.attempt(asked.own),
            Err(_) if is_tcp => self.observed.outcome(asked.own, SOON).await,
            Err(_) => self.observed.outcome(asked.own, FOLLOWS).await,
        };
        Query {
            to: to.clone(),
            test,
            name: asked.name,
            is_aaaa: asked.is_aaaa,
            took: asked.took,
            result: asked.result.map_err(|error| error.kind()),
            attempt,
        }
    }
}
