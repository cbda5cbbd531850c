//! A packet on its way.

use crate::{decode::tracked::Tracked, model::Flow, net::RouteKey};

/// A packet on its way. It changes: NAT gives it other addresses, a rule another mark.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packet {
    /// Its addresses and ports.
    pub(crate) flow: Flow,
    /// The addresses and ports that it came into its namespace with, or was sent with.
    pub(crate) original: Flow,
    /// Its firewall mark; `None` where a rule makes something unknown of it, such as the mark of the
    /// connection.
    pub(crate) mark: Option<u32>,
    /// Its length in bytes, from the network header up; that of one segment, if it is known.
    pub(crate) len: Option<u32>,
    /// It may not be fragmented.
    pub(crate) dont_fragment: bool,
    /// How many routers it may still pass.
    pub(crate) ttl: Option<u8>,
    /// Its TCP flags.
    pub(crate) tcp_flags: Option<u8>,
    /// Type and code of ICMP.
    pub(crate) icmp: Option<(u8, u8)>,
    /// What conntrack says of it in the namespace that it is in.
    pub(crate) tracked: Tracked,
    /// The zone that it is tracked in there; 0 is none.
    pub(crate) zone: u16,
    /// It answers a question that has passed.
    pub(crate) is_answer: bool,
}

impl Packet {
    /// The first packet of a flow, as a process sends it.
    pub(crate) fn first_of(flow: Flow) -> Self {
        const SYN: u8 = 2;
        Self {
            flow,
            original: flow,
            mark: Some(0),
            len: None,
            dont_fragment: true,
            ttl: Some(64),
            tcp_flags: (flow.proto == crate::model::Protocol::Tcp).then_some(SYN),
            icmp: None,
            tracked: Tracked::New,
            zone: 0,
            is_answer: false,
        }
    }

    /// The first answer to a packet that has been delivered like this, with the mark that the kernel
    /// gives it.
    pub(super) fn answer_to(delivered: Flow, mark: Option<u32>) -> Self {
        const SYN_AND_ACK: u8 = 0x12;
        let is_tcp = delivered.proto == crate::model::Protocol::Tcp;
        Self {
            tcp_flags: is_tcp.then_some(SYN_AND_ACK),
            // Its state is that of the entry that the question has made, where it passed.
            tracked: Tracked::Unknown,
            is_answer: true,
            mark,
            ..Self::first_of(delivered.reversed())
        }
    }

    /// The key that its route is looked up by. Where its mark is not known, no rule may ask for it.
    pub(super) fn route_key(&self, iif: Option<u32>) -> RouteKey {
        RouteKey {
            src: Some(self.flow.src),
            iif,
            mark: self.mark.unwrap_or(0),
            proto: Some(self.flow.proto.number()),
            sport: self.flow.sport,
            dport: self.flow.dport,
            ..RouteKey::to(self.flow.dst)
        }
    }

    /// What it loses on its way into another namespace.
    pub(super) fn scrubbed(&mut self) {
        self.mark = Some(0);
        self.tracked = match self.is_answer {
            true => Tracked::Unknown,
            false => Tracked::New,
        };
        self.zone = 0;
        self.original = self.flow;
    }
}
