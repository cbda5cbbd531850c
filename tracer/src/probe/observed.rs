//! What the trace has seen of the probe's own packets: what others send to the same place is no
//! evidence.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::model::{AttemptReport, DropReport, Flow, Protocol, Report};

/// The sequence number of the last echo request of a probe.
const LAST_ECHO: u16 = 64;

/// The reports of the trace about the probe's own packets.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    own: RefCell<Vec<Own>>,
    attempts: RefCell<Vec<AttemptReport>>,
    drops: RefCell<Vec<DropReport>>,
    news: Notify,
}

/// What identifies packets of the probe: the port that its socket is bound to, before it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) proto: Protocol,
    /// The address; `None` where no route has chosen one.
    pub(crate) src: Option<IpAddr>,
    /// The port; of echo requests, which have none, `None`.
    pub(crate) sport: Option<u16>,
    /// The identifier of echo requests.
    pub(crate) echo: Option<u16>,
    pub(crate) dst: IpAddr,
    pub(crate) dport: Option<u16>,
}

impl Own {
    pub(crate) fn tcp(from: SocketAddr, to: SocketAddr) -> Self {
        Self {
            proto: Protocol::Tcp,
            src: Some(from.ip()).filter(|ip| !ip.is_unspecified()),
            sport: Some(from.port()),
            echo: None,
            dst: to.ip(),
            dport: Some(to.port()),
        }
    }

    pub(crate) fn udp(from: SocketAddr, to: SocketAddr) -> Self {
        Self {
            proto: Protocol::Udp,
            ..Self::tcp(from, to)
        }
    }

    fn opened(&self, flow: &Flow) -> bool {
        (self.proto, self.sport, self.dst, self.dport)
            == (flow.proto, flow.sport, flow.dst, flow.dport)
            && self.src.is_none_or(|src| src == flow.src)
    }

    /// Whether a dropped packet is of this connection, in either direction, or is an ICMP error that
    /// quotes one. Behind NAT, one of its addresses is another.
    fn has(&self, drop: &DropReport) -> bool {
        let Flow {
            proto,
            src,
            sport,
            dst,
            dport,
        } = drop.quoted.unwrap_or(drop.flow);
        let ends = [src, dst];
        let known = self.src.is_some_and(|own| ends.contains(&own)) || ends.contains(&self.dst);
        // Other processes ping the same address.
        let is_own = match (self.sport, self.echo) {
            (Some(own), _) => sport == Some(own) || dport == Some(own),
            (None, Some(own)) => {
                let echo = drop.packet.and_then(|packet| packet.echo);
                echo.is_some_and(|(id, number)| id == own && (1..=LAST_ECHO).contains(&number))
            }
            (None, None) => false,
        };
        // A raw socket, ours or another's, gets a copy of each packet and may not want it.
        let function = drop.function.as_deref().unwrap_or_default();
        let is_copy = matches!(function, "raw_rcv" | "rawv6_rcv");
        proto == self.proto && known && is_own && !is_copy
    }
}

impl Observed {
    /// From now on, packets like these are the probe's own.
    pub(crate) fn expect(&self, own: Own) {
        self.own.borrow_mut().push(own);
    }

    /// Takes a report of the trace. Returns whether it is about a packet of the probe.
    pub(crate) fn take(&self, report: &Report) -> bool {
        let own = self.own.borrow();
        match report {
            Report::Attempt(attempt) if own.iter().any(|own| own.opened(&attempt.flow)) => {
                let mut attempts = self.attempts.borrow_mut();
                let key = |one: &AttemptReport| (one.flow, one.isn, one.ts);
                attempts.retain(|known| key(known) != key(attempt));
                attempts.push(AttemptReport::clone(attempt));
            }
            Report::Drop(drop) if own.iter().any(|own| own.has(drop)) => {
                let mut drops = self.drops.borrow_mut();
                if drop.corrects.is_some() {
                    drops.retain(|known| known.flow != drop.flow || known.ts != drop.ts);
                }
                drops.push(DropReport::clone(drop));
            }
            _ => return false,
        }
        self.news.notify_waiters();
        true
    }

    /// What is known of an attempt by now.
    pub(crate) fn attempt(&self, own: Own) -> Option<AttemptReport> {
        let attempts = self.attempts.borrow();
        let mut mine = attempts.iter().filter(|one| own.opened(&one.flow));
        mine.next_back().cloned()
    }

    /// Waits for the outcome of an attempt, and no longer than the limit: the client may know it
    /// before the trace does.
    pub(crate) async fn outcome(&self, own: Own, limit: Duration) -> Option<AttemptReport> {
        self.until(limit, || self.attempt(own)).await
    }

    /// The attempts of the probe, in order of time.
    pub(crate) fn attempts(&self) -> Vec<AttemptReport> {
        self.attempts.borrow().clone()
    }

    /// The dropped packets of the probe.
    pub(crate) fn drops(&self) -> Vec<DropReport> {
        self.drops.borrow().clone()
    }

    /// Waits until an attempt has a verdict, and no longer than the limit.
    pub(crate) async fn verdict(&self, own: Own, limit: Duration) -> Option<AttemptReport> {
        let has_one = || {
            self.attempt(own)
                .filter(|attempt| attempt.verdict.is_some())
        };
        let judged = self.until(limit, has_one).await;
        judged.or_else(|| self.attempt(own))
    }

    /// Waits for a drop of a packet that is larger than this, and no longer than the limit.
    pub(crate) async fn dropped(&self, own: Own, size: u32, limit: Duration) -> Option<DropReport> {
        let is_it = |drop: &&DropReport| {
            let is_larger = drop.packet.is_some_and(|packet| packet.len > size);
            own.has(drop) && drop.quoted.is_none() && is_larger
        };
        let dropped = || self.drops.borrow().iter().find(is_it).cloned();
        self.until(limit, dropped).await
    }

    /// Waits for a drop of an error that says that a packet to this address is too large, and no longer
    /// than the limit. Errors of one router are reported together, whichever packets they quote.
    pub(crate) async fn silenced(&self, dst: IpAddr, limit: Duration) -> Option<DropReport> {
        let is_it = |drop: &&DropReport| {
            let own = self.own.borrow();
            let mut own = own.iter().filter(|own| own.dst == dst);
            says_too_big(drop) && own.any(|own| own.has(drop))
        };
        let dropped = || self.drops.borrow().iter().find(is_it).cloned();
        self.until(limit, dropped).await
    }

    async fn until<T>(&self, limit: Duration, known: impl Fn() -> Option<T>) -> Option<T> {
        let wait = async {
            loop {
                let news = self.news.notified();
                if let Some(found) = known() {
                    return found;
                }
                news.await;
            }
        };
        timeout(limit, wait).await.ok()
    }
}

/// Whether it is a "fragmentation needed" or a "packet too big".
fn says_too_big(drop: &DropReport) -> bool {
    let icmp = drop.packet.and_then(|packet| packet.icmp);
    drop.quoted.is_some()
        && matches!(
            (drop.flow.proto, icmp),
            (Protocol::Icmp, Some((3, 4))) | (Protocol::Icmpv6, Some((2, _)))
        )
}
