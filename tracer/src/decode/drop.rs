//! The facts about one dropped packet; `decoder` reads them from a kernel event.

mod decoder;

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use tracer_common::{
    event::DropKey,
    packet::{Tcp, headers, solicited},
    tuple::Tuple,
};

pub(crate) use self::decoder::{Decoder, original_destination};
use super::{tracked::Tracked, untranslated::Untranslated};
use crate::{
    decode::sighting::AttemptKey,
    model::{Flow, Hook, Packet, Protocol, Reason, SocketAddress, TcpFlags},
};

/// What was seen of one dropped packet. Nothing in it is a conclusion.
#[derive(Debug, Clone)]
pub(crate) struct DropFacts {
    /// When it was dropped.
    pub(crate) at: SystemTime,
    /// What the kernel counts it under.
    pub(crate) key: DropKey,
    /// Its flow, inside of any tunnel.
    pub(crate) flow: Flow,
    /// Its destination before DNAT, if that was another.
    pub(crate) original_dst: Option<SocketAddress>,
    /// The flow of the encapsulating packet.
    pub(crate) outer: Option<Flow>,
    /// The tuple of the encapsulating packet.
    pub(crate) outer_tuple: Option<Tuple>,
    /// The flow that an ICMP error speaks of.
    pub(crate) quoted: Option<Flow>,
    /// Figures of the packet; `None` where only its count is known.
    pub(crate) packet: Option<Packet>,
    /// The kernel's name of the reason.
    pub(crate) reason: Reason,
    /// The function that freed the skb.
    pub(crate) function: Option<String>,
    /// The netfilter hook.
    pub(crate) hook: Option<Hook>,
    /// The interface.
    pub(crate) ifname: Option<String>,
    /// MTU of that interface, in bytes from the network header up.
    pub(crate) mtu: Option<u32>,
    /// The network namespace's inode number.
    pub(crate) netns: Option<u32>,
    /// The kernel stack, innermost first, from the function that freed the skb outwards.
    pub(crate) stack: Vec<String>,
    /// The thread that the drop was made by; meaningful in process context only.
    pub(crate) comm: String,
    /// That thread's number; 0 where it is not known.
    pub(crate) thread: u32,
    /// The firewall mark.
    pub(crate) mark: u32,
    /// What conntrack has said of it.
    pub(crate) tracked: Tracked,
    /// Index of the interface that it came in through; 0 for one that was sent from here.
    pub(crate) iif: u32,
    /// The TCP header; `None` where it is not TCP, or not known.
    pub(crate) tcp: Option<Tcp>,
    /// The DNS query or answer: its key, and whether it is an answer.
    pub(crate) dns: Option<(AttemptKey, bool)>,
    /// The tuple that an ICMP error speaks of.
    pub(crate) quoted_tuple: Option<Tuple>,
    /// The sequence number of the TCP segment that an ICMP error speaks of.
    pub(crate) quoted_seq: Option<u32>,
    /// Whether that is a packet that was sent: one that an attempt could have sent, on whose way this
    /// was dropped, or one of a flow of which packets were seen to be too large.
    pub(crate) quotes_seen: bool,
    /// The translation that its connection has, and it lacks; if an attempt shows that.
    pub(crate) untranslated: Option<Untranslated>,
    /// What this node has sent back just before it dropped the packet, as a rule does that rejects.
    pub(crate) sent_back: Option<SentBack>,
    /// Whether a node of the cluster has the source address of the encapsulating packet.
    pub(crate) is_from_node: bool,
    /// What only rules look at; `None` where only the packet's count is known.
    pub(crate) wire: Option<Arc<Wire>>,
}

/// An answer to a packet that a rule rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SentBack {
    /// A TCP segment with RST.
    Reset,
    /// An ICMP or ICMPv6 error with this type and code.
    Error(u8, u8),
}

/// What an event says of a packet that rules can ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    /// The packet from the network header up, as far as it was captured.
    pub(crate) bytes: Vec<u8>,
    /// Where the transport header of the flow is.
    pub(crate) transport_at: usize,
    /// Source MAC address.
    pub(crate) src_mac: Option<[u8; 6]>,
    /// Destination MAC address.
    pub(crate) dst_mac: Option<[u8; 6]>,
    /// Index of the interface that its route leads to.
    pub(crate) oif: Option<u32>,
    /// Conntrack's tuple of the connection's first packet, and that of its answers.
    pub(crate) entry: Option<(Tuple, Tuple)>,
    /// What conntrack has said of it, as [`tracer_common::event::ct`] has it.
    pub(crate) ct: u32,
}

/// What alike drops have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DropKind {
    /// What the kernel counts them under.
    pub(crate) key: DropKey,
    /// The kernel's name of the reason.
    pub(crate) reason: Reason,
    /// The function that freed the skb.
    pub(crate) function: Option<String>,
}

impl DropKind {
    /// The facts of a drop of which nothing else is known.
    pub(crate) fn facts(self, at: SystemTime) -> DropFacts {
        let Self {
            key,
            reason,
            function,
        } = self;
        DropFacts {
            at,
            key,
            flow: Flow::from(&key.flow),
            original_dst: None,
            outer: None,
            outer_tuple: None,
            quoted: None,
            packet: None,
            reason,
            function,
            hook: None,
            ifname: None,
            mtu: None,
            netns: (key.netns != 0).then_some(key.netns),
            stack: Vec::new(),
            comm: String::new(),
            thread: 0,
            mark: 0,
            tracked: Tracked::Unknown,
            iif: 0,
            tcp: None,
            dns: None,
            quoted_tuple: None,
            quoted_seq: None,
            quotes_seen: false,
            untranslated: None,
            sent_back: None,
            is_from_node: false,
            wire: None,
        }
    }
}

impl DropFacts {
    /// Its TCP flags, of which the kernel's count knows too; `None` where it is not TCP.
    pub(crate) fn tcp_flags(&self) -> Option<TcpFlags> {
        let is_tcp = self.flow.proto == Protocol::Tcp;
        is_tcp.then(|| TcpFlags::new(self.key.tcp_flags))
    }

    /// Whether the kernel dropped it when it was to be forwarded, and gave no reason.
    pub(crate) fn was_refused_by_forwarding(&self) -> bool {
        let function = self.function.as_deref();
        !self.reason.is_specified() && matches!(function, Some("ip_forward" | "ip6_forward"))
    }
}

impl DropFacts {
    /// The network identifier of the encapsulating packet, if it was captured.
    pub(crate) fn vni(&self) -> Option<u32> {
        headers(&self.wire.as_ref()?.bytes.as_slice())?.vni
    }

    /// The hops that are left to it (TTL of IPv4, hop limit of IPv6), if its header was captured.
    pub(crate) fn ttl(&self) -> Option<u8> {
        let bytes = &self.wire.as_ref()?.bytes;
        match bytes.first()? >> 4 {
            4 => bytes.get(8).copied(),
            6 => bytes.get(7).copied(),
            _ => None,
        }
    }

    /// The address that a Neighbor Solicitation or Advertisement is about, and whether it is an answer.
    pub(crate) fn asks_for(&self) -> Option<(IpAddr, bool)> {
        let bytes = self.wire.as_ref()?.bytes.as_slice();
        let layer = headers(&bytes)?.flow;
        let waits = solicited(&bytes, &layer)?;
        // A question comes from who asks.
        Some((waits.dst.into(), waits.src != layer.tuple.src))
    }
}
