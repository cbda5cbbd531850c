//! The record of a dropped packet.

use std::{net::IpAddr, time::SystemTime};

use serde::Serialize;

use super::{
    packet::{Flow, Packet, Pod},
    verdict::Verdict,
    wire::{endpoint_string, rfc3339},
};

/// One dropped packet, or `count` alike ones.
#[derive(Debug, Clone, Serialize)]
pub struct Drop {
    /// When the first of the packets was dropped.
    #[serde(serialize_with = "rfc3339")]
    pub ts: SystemTime,
    /// The packet's flow; the inner one where the packet is encapsulated.
    pub flow: Flow,
    /// The destination before DNAT.
    #[serde(serialize_with = "endpoint_string")]
    pub original_dst: Option<(IpAddr, Option<u16>)>,
    /// The flow of the encapsulating packet.
    pub outer: Option<Flow>,
    /// The flow that a dropped ICMP error speaks of.
    pub quoted: Option<Flow>,
    /// Figures of the packet; `None` where only the count is known.
    pub packet: Option<Packet>,
    /// The kernel's name of the drop reason, without the prefix `SKB_DROP_REASON_`.
    pub reason: String,
    /// The kernel function that freed the skb.
    pub function: Option<String>,
    /// The netfilter hook (`PREROUTING`, `INPUT`, `FORWARD`, `OUTPUT`, `POSTROUTING`, `INGRESS`,
    /// `EGRESS`, or `BRIDGE_` and one of them).
    pub hook: Option<String>,
    /// The interface that the skb belonged to.
    pub ifname: Option<String>,
    /// The network namespace, as the inode number of `/proc/PID/ns/net`.
    pub netns: Option<u32>,
    /// The namespace's name: that of `ip netns`, or of a process in it.
    pub netns_name: Option<String>,
    /// How many packets this record stands for.
    pub count: u64,
    /// The pod that owns the source address.
    pub src_pod: Option<Pod>,
    /// The pod that owns the destination address.
    pub dst_pod: Option<Pod>,
    /// Whose the source address is, in words, where it is no pod's: a node's, say.
    pub src_owner: Option<String>,
    /// Whose the destination address is: a Service's, say, or that of a pod that is gone.
    pub dst_owner: Option<String>,
    /// The kernel stack, innermost frame first; only with `--stack`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Vec<String>>,
    /// Who dropped it, and how we know.
    pub verdict: Verdict,
}
