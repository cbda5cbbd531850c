//! The records of a trace, as the JSON contract (schema 1) defines them.
//!
//! A record is what reaches the user: one line of JSON, or one entry in the text stream. Whatever
//! is not known is `None` and becomes `null`, never a guess. Addresses are strings in the JSON,
//! ports are numbers in host byte order.

use std::{net::IpAddr, time::SystemTime};

use serde::{Serialize, Serializer};

use crate::policy::Refusal;

/// One line of output.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// Everything is attached.
    Started(Started),
    /// One dropped packet, or several alike folded into one.
    Drop(Box<Drop>),
    /// One connection attempt whose fate is known.
    Attempt(Box<Attempt>),
    /// Events that could not be shown.
    Lost(Lost),
    /// The last record of a trace.
    Summary(Summary),
}

/// Everything is attached; from here on nothing is missed.
#[derive(Debug, Clone, Serialize)]
pub struct Started {
    /// When the last probe was attached.
    #[serde(serialize_with = "rfc3339")]
    pub ts: SystemTime,
    /// The running kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// How many interfaces carry tc probes.
    pub interfaces: usize,
    /// The kernel hooks that are attached.
    pub hooks: Vec<String>,
    /// What this kernel or node cannot show, a sentence each.
    pub degraded: Vec<String>,
    /// The filter in force, as a person would say it.
    pub filter: String,
}

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

/// Events that could not be shown, since the last such record.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    /// When the loss was noticed.
    #[serde(serialize_with = "rfc3339")]
    pub ts: SystemTime,
    /// How many events.
    pub events: u64,
    /// Where they were lost.
    #[serde(rename = "where")]
    pub place: String,
}

/// The last record of a trace.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// When the trace ended.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub ts: Option<SystemTime>,
    /// Matching drops, counted in the kernel; exact. Noise is not among them.
    pub drops: u64,
    /// Those of `drops` that a `drop` record stood for.
    pub shown: u64,
    /// Events that found the ring buffer full. Their drops are counted in `drops` all the same.
    pub lost: u64,
    /// Matching drops that healthy traffic makes too, hidden without `--noise`.
    pub noise: u64,
    /// Packets that claimed to be IP but could not be parsed.
    pub malformed: u64,
    /// Connection attempts, by outcome; a corrected one counts under its last outcome.
    pub attempts: std::collections::BTreeMap<Outcome, u64>,
    /// SYNs that found the table of attempts full, and were not followed.
    pub untracked: u64,
    /// The verdicts given, most frequent first.
    pub verdicts: Vec<VerdictCount>,
    /// What the trace says of each layer.
    pub layers: Vec<LayerRow>,
    /// The main verdict: the most frequent one over the failed attempts that is more than possible;
    /// where no attempt failed, the most frequent one over the drops.
    pub verdict: Option<Verdict>,
}

/// How many verdicts are told apart in a summary; a trace may run for days.
const VERDICTS: usize = 1000;
/// What stands for all others.
const OTHERS: &str = "for other reasons, of which there were too many to list";

impl Summary {
    /// Counts a verdict; beyond the first thousand, under a common sentence for each point.
    pub fn tally(&mut self, verdict: &Verdict, count: u64) {
        let same =
            |found: &&mut VerdictCount| found.point == verdict.point && found.why == verdict.why;
        if let Some(found) = self.verdicts.iter_mut().find(same) {
            found.count += count;
            return;
        }
        let is_full = self.verdicts.len() >= VERDICTS;
        let why = if is_full { OTHERS } else { &verdict.why };
        let alike = |found: &&mut VerdictCount| found.point == verdict.point && found.why == why;
        match self.verdicts.iter_mut().find(alike) {
            Some(found) => found.count += count,
            None => self.verdicts.push(VerdictCount {
                point: verdict.point,
                count,
                why: why.to_owned(),
            }),
        }
    }
}

/// What a trace says of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerRow {
    /// `DNS`, `TCP`, `policy`, `firewall`, `overlay`, `MTU`, `listener` or `TLS`.
    pub layer: &'static str,
    /// What would show that the layer works.
    pub test: &'static str,
    /// What was seen of that.
    pub result: LayerResult,
    /// What the result rests on.
    pub evidence: Option<String>,
    /// Who is to blame, or what the layer is blocked by.
    pub verdict: Option<String>,
}

/// What was seen of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerResult {
    /// It was seen to work, and no failure can be its own.
    Ok,
    /// It was seen to fail.
    Failed,
    /// A layer before it failed, so that it was never reached.
    Blocked,
    /// Nothing seen says anything of it.
    #[serde(rename = "not observed")]
    NotObserved,
}

/// How often one verdict was given.
#[derive(Debug, Clone, Serialize)]
pub struct VerdictCount {
    /// The dropping point.
    pub point: Point,
    /// How many packets or attempts it explains.
    pub count: u64,
    /// One sentence.
    pub why: String,
}

/// Who dropped it, how sure we are, and how we know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The dropping point.
    pub point: Point,
    /// How sure we are.
    pub confidence: Confidence,
    /// One sentence.
    pub why: String,
    /// Each a fact with its figure.
    pub evidence: Vec<String>,
    /// Commands or manifests; may be empty.
    pub fix: Vec<String>,
    /// The NetworkPolicy that refused the flow.
    pub policy: Option<PolicyVerdict>,
}

/// The NetworkPolicies that refused a flow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyVerdict {
    /// `ingress` or `egress`.
    pub direction: String,
    /// The isolated pod, `namespace/name`.
    pub pod: String,
    /// The policies that isolate it, `namespace/name` each.
    pub policies: Vec<String>,
    /// The rule that would admit the flow, in words.
    pub missing: String,
}

impl From<&Refusal> for PolicyVerdict {
    fn from(refusal: &Refusal) -> Self {
        Self {
            direction: refusal.direction.to_owned(),
            pod: refusal.pod.clone(),
            policies: refusal.policies.clone(),
            missing: refusal.missing.clone(),
        }
    }
}

/// Where a packet was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    /// NetworkPolicy enforcement.
    Policy,
    /// Another netfilter, tc, XDP, cgroup or socket filter rule.
    Firewall,
    /// The encapsulation, or the path between nodes under it.
    Overlay,
    /// A packet larger than a hop takes.
    Mtu,
    /// Accept queue or SYN queue full.
    Listener,
    /// Nobody at that address, or a Service without endpoints.
    Endpoint,
    /// No, blackhole or forbidden route; forwarding off.
    Route,
    /// Conntrack table full, or state invalid.
    Conntrack,
    /// Reverse-path or martian source check.
    Rpfilter,
    /// Qdisc, backlog or ring overflow.
    Queue,
    /// Closed port, socket buffer.
    Socket,
    /// Corrupt packet.
    Checksum,
    /// Left this node, no drop seen here, nothing came back.
    OffNode,
    /// None of these can be shown.
    Unknown,
}

impl Point {
    /// The point's name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Firewall => "firewall",
            Self::Overlay => "overlay",
            Self::Mtu => "mtu",
            Self::Listener => "listener",
            Self::Endpoint => "endpoint",
            Self::Route => "route",
            Self::Conntrack => "conntrack",
            Self::Rpfilter => "rpfilter",
            Self::Queue => "queue",
            Self::Socket => "socket",
            Self::Checksum => "checksum",
            Self::OffNode => "off-node",
            Self::Unknown => "unknown",
        }
    }
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// One explanation among others.
    Possible,
    /// The best explanation of what was seen.
    Likely,
    /// Seen happening.
    Confirmed,
}

impl Confidence {
    /// The confidence's name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Confirmed => "confirmed",
        }
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_nanos(*time))
}

fn rfc3339_or_null<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn endpoint_string<S: Serializer>(
    endpoint: &Option<(IpAddr, Option<u16>)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match endpoint {
        Some((address, Some(port))) => {
            serializer.collect_str(&std::net::SocketAddr::new(*address, *port))
        }
        Some((address, None)) => serializer.collect_str(address),
        None => serializer.serialize_none(),
    }
}
