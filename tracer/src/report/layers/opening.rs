//! First packets of connections that were dropped: without their interfaces, all that is known of an
//! attempt.

use super::{Blamed, evidence};
use crate::{
    model::{DropReport, Protocol},
    verdict::drop::CLOSED_PORT,
};

/// The port of DNS.
const DNS: u16 = 53;

/// What a packet opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// A TCP connection: it is a SYN.
    Handshake,
    /// A DNS query.
    Query,
}

/// The first packets that one verdict is about.
#[derive(Debug, Default)]
pub(super) struct Opened {
    syns: u64,
    queries: u64,
    /// The ends of the first of them.
    pub(super) example: Option<String>,
}

impl Opening {
    fn of(drop: &DropReport) -> Option<Self> {
        match drop.flow.proto {
            Protocol::Tcp => {
                let flags = drop.packet.as_ref()?.tcp_flags?;
                (flags.syn() && !flags.ack()).then_some(Self::Handshake)
            }
            Protocol::Udp if drop.flow.dport == Some(DNS) => Some(Self::Query),
            _ => None,
        }
    }
}

impl Opened {
    /// Takes so many packets like this one.
    pub(super) fn add(&mut self, drop: &DropReport, count: u64) {
        let Some(opening) = Opening::of(drop) else {
            return;
        };
        let known = self.count(opening);
        *known = known.saturating_add(count);
        self.example.get_or_insert_with(|| evidence::ends(drop));
    }

    /// Takes so many packets like this one back.
    pub(super) fn take_back(&mut self, drop: &DropReport, count: u64) {
        if let Some(opening) = Opening::of(drop) {
            let known = self.count(opening);
            *known = known.saturating_sub(count);
        }
    }

    fn count(&mut self, opening: Opening) -> &mut u64 {
        match opening {
            Opening::Handshake => &mut self.syns,
            Opening::Query => &mut self.queries,
        }
    }
}

impl Blamed {
    /// How many packets that open this were dropped.
    pub(super) fn opening(&self, opening: Opening) -> u64 {
        match opening {
            Opening::Handshake => self.opened.syns,
            Opening::Query => self.opened.queries,
        }
    }

    /// Whether no socket takes what it drops: its sender is refused.
    pub(super) fn is_closed_port(&self) -> bool {
        let rule = self.verdict.rule.as_ref();
        rule.is_some_and(|rule| rule.as_str() == CLOSED_PORT) && self.is_sure()
    }
}
