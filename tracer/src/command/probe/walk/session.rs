//! TLS and the application: on a connection of their own each.

use std::{
    io,
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use super::{FOLLOWS, Walk};
use crate::{
    model::{Layer, LayerReport, LayerResult},
    probe::{
        layers::{
            self,
            tls::{Agreed, Shaken},
        },
        plan::command::hello,
        send::{Broken, Greeted, Offer, connect, greet, read_chain, request},
    },
};

impl Walk {
    /// Begins TLS: with everything that a client of today offers, and with less where that fails.
    pub(super) async fn tls(&self, to: Option<SocketAddr>) -> Result<LayerReport> {
        let without = |result, reason: String| Ok(layers::without(Layer::Tls, result, "", reason));
        let name = match &self.plan.tls {
            Ok(name) => name.as_deref(),
            Err(reason) => {
                return without(LayerResult::Skipped, reason.clone());
            }
        };
        let Some(to) = to else {
            return without(LayerResult::Blocked, "blocked by TCP".to_owned());
        };
        let mut shaken = vec![self.shake(to, name, Offer::ALL).await?];
        let offers = match &shaken[0].result {
            Ok(agreed) if agreed.version == "1.3" => vec![Offer {
                tls13: false,
                ..Offer::ALL
            }],
            // The highest version that the server has.
            Ok(_) | Err(Broken::NotTls(_) | Broken::Connect(_)) => Vec::new(),
            Err(_) => vec![
                Offer {
                    alpn: false,
                    ..Offer::ALL
                },
                Offer {
                    alpn: false,
                    tls13: false,
                },
            ],
        };
        for offer in offers {
            let next = self.shake(to, name, offer).await?;
            let done = next.result.is_ok();
            // That a server has no TLS 1.2 is no failure.
            if done || shaken[0].result.is_err() {
                shaken.push(next);
            }
            if done {
                break;
            }
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let test = self.shown(&hello(&to.to_string(), name));
        Ok(layers::tls::layer(test, to, name, &shaken, now))
    }

    async fn shake(&self, to: SocketAddr, name: Option<&str>, offer: Offer) -> Result<Shaken> {
        let from = self.plan.source.address_for(to.ip());
        let greeted = greet(
            &self.sockets,
            &self.observed,
            from,
            to,
            (name, offer),
            self.timeout,
        );
        let Greeted {
            offer,
            own,
            took,
            result,
        } = greeted.await?;
        let attempt = match &result {
            Err(Broken::Silent) => self.observed.verdict(own, FOLLOWS).await,
            _ => self.observed.attempt(own),
        };
        Ok(Shaken {
            offer,
            took,
            result: result.map(|session| Agreed {
                version: session.version,
                alpn: session.alpn.clone(),
                chain: read_chain(&session.chain),
            }),
            attempt,
        })
    }

    /// Asks for the path of `--http`.
    pub(super) async fn application(&self, to: Option<SocketAddr>) -> Result<LayerReport> {
        let without =
            |result, reason: String| Ok(layers::without(Layer::Application, result, "", reason));
        let plan = match &self.plan.http {
            Ok(plan) => plan,
            Err(reason) => return without(LayerResult::Skipped, reason.clone()),
        };
        let Some(to) = to else {
            return without(LayerResult::Blocked, "blocked by TCP".to_owned());
        };
        let from = self.plan.source.address_for(to.ip());
        let (sockets, observed, limit) = (&self.sockets, &*self.observed, self.timeout);
        let result: io::Result<_> = if plan.tls {
            let name = self.plan.tls.as_ref().ok().and_then(|name| name.as_deref());
            // HTTP/2 is not spoken here.
            let offer = Offer {
                alpn: false,
                ..Offer::ALL
            };
            match greet(sockets, observed, from, to, (name, offer), limit)
                .await?
                .result
            {
                Ok(session) => request(session.stream, &plan.host, &plan.path, limit).await,
                Err(_) => return without(LayerResult::Blocked, "blocked by TLS".to_owned()),
            }
        } else {
            match connect(sockets, observed, from, to, limit).await?.result {
                Ok(stream) => request(stream, &plan.host, &plan.path, limit).await,
                Err(_) => return without(LayerResult::Blocked, "blocked by TCP".to_owned()),
            }
        };
        let test = self.shown(&plan.command(Some(to), ""));
        Ok(layers::http::layer(test, &to.to_string(), &result))
    }
}
