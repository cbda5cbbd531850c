//! The record of a connection attempt.

use std::{net::IpAddr, time::SystemTime};

use serde::Serialize;

use super::{
    packet::{Flow, Pod},
    verdict::Verdict,
    wire::{endpoint_string, rfc3339},
};

/// One connection attempt whose fate is known: a TCP handshake, or a DNS query over UDP.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// When its first packet was seen.
    #[serde(serialize_with = "rfc3339")]
    pub ts: SystemTime,
    /// The flow as the first hop saw it: the client's own view, before any NAT.
    pub flow: Flow,
    /// The destination before DNAT, where the first hop seen was already behind it.
    #[serde(serialize_with = "endpoint_string")]
    pub original_dst: Option<(IpAddr, Option<u16>)>,
    /// The flow as the last hop saw it, where NAT changed it on the way.
    pub translated: Option<Flow>,
    /// The pod that owns the source address.
    pub src_pod: Option<Pod>,
    /// The pod that owns the destination address, after DNAT.
    pub dst_pod: Option<Pod>,
    /// Whose the source address is, in words, where it is no pod's.
    pub src_owner: Option<String>,
    /// Whose the destination address that the client used is: a Service's, say.
    pub dst_owner: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The outcome that an earlier record of the same attempt gave, and that this one corrects.
    pub corrects: Option<Outcome>,
    /// How many SYNs (or queries) were seen, retransmissions included.
    pub syns: u64,
    /// Milliseconds from the first packet to the fate.
    pub waited_ms: u64,
    /// Initial sequence number of the SYN; `None` for DNS.
    pub isn: Option<u32>,
    /// The DNS question and its answer; `None` for TCP.
    pub dns: Option<Dns>,
    /// How far TLS had got by then; `None` where no ClientHello was seen.
    pub tls: Option<Tls>,
    /// Who answered, refused or rejected: its address and, where it can be told, what it is.
    pub by: Option<String>,
    /// The hops of the SYN (or query), in order of time.
    pub hops: Vec<Hop>,
    /// The hops of what came back: SYN-ACK, RST, ICMP error or DNS answer.
    pub reply_hops: Vec<Hop>,
    /// Who lost it, and how we know; `None` where it was answered.
    pub verdict: Option<Verdict>,
}

/// How far TLS got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// The ClientHello was sent, and not acknowledged.
    Sent,
    /// The ClientHello was acknowledged.
    Acknowledged,
    /// The server has sent data.
    Answered,
    /// A RST came in answer to the ClientHello.
    Reset,
}

/// What became of a connection attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The SYN-ACK (or the DNS answer) reached the client's side.
    Answered,
    /// A RST came back.
    Refused,
    /// An ICMP error came back.
    Rejected,
    /// Nothing came back in time, or it got lost on the way back.
    Unanswered,
    /// The handshake is done, and data does not get through.
    Stalled,
}

impl Outcome {
    /// The outcome's name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Unanswered => "unanswered",
            Self::Stalled => "stalled",
        }
    }
}

/// One sighting of a packet on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// The interface.
    pub ifname: String,
    /// The network namespace's inode number.
    pub netns: u32,
    /// The namespace's name.
    pub netns_name: Option<String>,
    /// Into or out of the namespace by that interface.
    pub dir: Direction,
    /// Microseconds since the attempt's first packet.
    pub at_us: u64,
    /// How often it was seen here; retransmissions count.
    pub times: u64,
    /// The flow as seen here, where it differs from the attempt's.
    pub flow: Option<Flow>,
    /// The flow of the encapsulating packet.
    pub outer: Option<Flow>,
    /// MTU of the interface, in bytes.
    pub mtu: u32,
}

/// Which way a packet passes an interface, seen from its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// A DNS question and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// The name asked for.
    pub question: String,
    /// The type asked for (`A`, `AAAA`, …, or its number).
    pub qtype: String,
    /// The answer's code (`NOERROR`, `NXDOMAIN`, `SERVFAIL`, …, or its number).
    pub rcode: Option<String>,
}
