//! A packet: its flow, its figures, and whose its addresses are.

use std::net::IpAddr;

use serde::Serialize;

/// A flow as its packet shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Flow {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or the IP protocol's number.
    pub proto: String,
    /// Source address.
    pub src: IpAddr,
    /// Source port; `None` where the protocol has none, or the fragment does not carry it.
    pub sport: Option<u16>,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port.
    pub dport: Option<u16>,
}

/// Figures of one dropped packet.
#[derive(Debug, Clone, Serialize)]
pub struct Packet {
    /// Bytes from the network header up; for a GSO packet all its segments together.
    pub len: u32,
    /// `S`, `SA`, `A`, `PA`, `FA`, `R`, …; `None` where it is not TCP.
    pub tcp_flags: Option<String>,
    /// TCP sequence number, host byte order.
    pub seq: Option<u32>,
    /// TCP payload bytes of each segment (`gso_size`); `None` where the packet is not GSO.
    pub gso_size: Option<u32>,
    /// ICMP or ICMPv6 type and code.
    pub icmp: Option<(u8, u8)>,
}

/// A Kubernetes pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The node it runs on.
    pub node: Option<String>,
    /// The pod's labels.
    pub labels: std::collections::BTreeMap<String, String>,
}
