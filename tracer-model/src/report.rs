//! What a trace reports.

use std::{net::IpAddr, time::SystemTime};

use super::{
    Direction, Flow, Hook, LayerReport, Outcome, Outer, Packet, PathReport, PlanReport, Pod, Point,
    Reason, ReplyKind, RuleName, SocketAddress, Summary, TlsStage, Verdict,
};

/// One entry of a trace. Whatever is not known is `None`, never a guess.
#[derive(Debug, Clone)]
pub enum Report {
    /// Everything is attached.
    Started(Box<Started>),
    /// One dropped packet, or several alike folded into one.
    Drop(Box<DropReport>),
    /// One connection attempt whose outcome is known.
    Attempt(Box<AttemptReport>),
    /// Drops or attempts that were too many to show each.
    More(More),
    /// Events that could not be shown.
    Lost(Lost),
    /// Nothing was reported for a while; with `--ticks` only.
    Tick(Tick),
    /// One connection attempt in the traces of several nodes.
    Path(Box<PathReport>),
    /// Everything that a probe will send.
    Plan(Box<PlanReport>),
    /// What a probe found at one layer.
    Layer(Box<LayerReport>),
    /// The last entry of a trace.
    Summary(Box<Summary>),
}

impl Report {
    /// The drop, if it is one.
    pub fn as_drop(&self) -> Option<&DropReport> {
        match self {
            Self::Drop(drop) => Some(drop),
            _ => None,
        }
    }

    /// The attempt, if it is one.
    pub fn as_attempt(&self) -> Option<&AttemptReport> {
        match self {
            Self::Attempt(attempt) => Some(attempt),
            _ => None,
        }
    }
}

/// Everything is attached; from here on nothing is missed.
#[derive(Debug, Clone)]
pub struct Started {
    /// When the last probe was attached.
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
    /// What this node is called.
    pub node: Option<String>,
    /// The addresses of the watched interfaces, without those of loopback and link scope.
    pub addresses: Vec<IpAddr>,
    /// Whether the probes see all packets of all interfaces of the watched namespaces, at this time.
    pub complete: bool,
    /// The filter, as the command line has it; `None` in a recording of an older version.
    pub scope: Option<Scope>,
}

/// A filter, as the command line has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The protocol: `tcp`, `udp`, `icmp` or `any`.
    pub proto: String,
    /// One end of the connection; `None` for any.
    pub to: Option<String>,
    /// The other end.
    pub from: Option<String>,
    /// The network namespaces of `--netns`; empty for the one that whydrop ran in.
    pub netns: Vec<String>,
    /// The addresses and ports that `to` stands for, if they were given (`--to-is`).
    pub to_is: Vec<String>,
    /// The same for `from`.
    pub from_is: Vec<String>,
}

/// Events that could not be shown, since the last such report.
#[derive(Debug, Clone)]
pub struct Lost {
    /// When the loss was noticed.
    pub ts: SystemTime,
    /// How many events.
    pub events: u64,
    /// Where they were lost.
    pub place: String,
}

/// A trace that goes on, with nothing to report.
#[derive(Debug, Clone)]
pub struct Tick {
    /// Up to when nothing was missed, but for what `lost` says.
    pub ts: SystemTime,
    /// Events lost so far.
    pub lost: u64,
}

/// Alike drops or attempts of a second that were too many to show each.
#[derive(Debug, Clone)]
pub struct More {
    /// When the first of them was left out.
    pub ts: SystemTime,
    /// The outcome, if they are attempts; `None` if they are drops.
    pub outcome: Option<Outcome>,
    /// How many records this one stands for.
    pub records: u64,
    /// How many dropped packets, or attempts.
    pub count: u64,
    /// Distinct source addresses, counted up to 4,096.
    pub sources: u64,
    /// Where they were lost; `None` if they were not, or at several points.
    pub point: Option<Point>,
    /// The rule that they have in common.
    pub rule: Option<RuleName>,
    /// One sentence: that of the first of them.
    pub why: Option<String>,
    /// Initial sequence numbers of the attempts, up to 4,096.
    pub isns: Vec<u32>,
}

/// One dropped packet, or `count` alike ones.
#[derive(Debug, Clone)]
pub struct DropReport {
    /// When the first of the packets was dropped.
    pub ts: SystemTime,
    /// The packet's flow; the inner one where the packet is encapsulated.
    pub flow: Flow,
    /// The destination before DNAT.
    pub original_dst: Option<SocketAddress>,
    /// The flow of the encapsulating packet.
    pub outer: Option<Outer>,
    /// The flow that a dropped ICMP error quotes.
    pub quoted: Option<Flow>,
    /// Figures of the packet; `None` where only the count is known.
    pub packet: Option<Packet>,
    /// The kernel's reason.
    pub reason: Reason,
    /// The kernel function that freed the skb.
    pub function: Option<String>,
    /// The netfilter hook.
    pub hook: Option<Hook>,
    /// The interface that the skb belonged to.
    pub ifname: Option<String>,
    /// The network namespace, as the inode number of `/proc/PID/ns/net`.
    pub netns: Option<u32>,
    /// The namespace's name: that of `ip netns`, or of a process in it.
    pub netns_name: Option<String>,
    /// How many packets this report stands for; 0 where it corrects an earlier one.
    pub count: u64,
    /// Healthy traffic makes such drops, too: shown with `--noise` only.
    pub noise: bool,
    /// Where the packets were lost by an earlier report on the same ones, which this one corrects.
    pub corrects: Option<Point>,
    /// The pod that owns the source address.
    pub src_pod: Option<Pod>,
    /// The pod that owns the destination address.
    pub dst_pod: Option<Pod>,
    /// Whose the source address is, in words, where it is no pod's: a node's, say.
    pub src_owner: Option<String>,
    /// Whose the destination address is: a Service's, say, or that of a pod that is gone.
    pub dst_owner: Option<String>,
    /// The kernel stack, innermost frame first; only with `--stack`.
    pub stack: Option<Vec<String>>,
    /// Who dropped it, and how we know.
    pub verdict: Verdict,
}

/// One connection attempt whose outcome is known: a TCP handshake, or a DNS query over UDP.
#[derive(Debug, Clone)]
pub struct AttemptReport {
    /// When its first packet was seen.
    pub ts: SystemTime,
    /// The flow as the first hop saw it: the client's own view, before any NAT.
    pub flow: Flow,
    /// The destination before DNAT, where the first hop seen was already behind it.
    pub original_dst: Option<SocketAddress>,
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
    /// The Service whose address or node port the client used, `namespace/name`.
    pub service: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The outcome that an earlier report of the same attempt gave, and that this one corrects; the
    /// same outcome where only the verdict is another.
    pub corrects: Option<Outcome>,
    /// How many SYNs (or queries) were seen, retransmissions included.
    pub syns: u64,
    /// Milliseconds from the first packet to the outcome.
    pub waited_ms: u64,
    /// Initial sequence number of the SYN; `None` for DNS.
    pub isn: Option<u32>,
    /// The DNS question and its answer; `None` for TCP.
    pub dns: Option<Dns>,
    /// How far TLS had got by then; `None` where no ClientHello was seen.
    pub tls: Option<TlsStage>,
    /// What answered, refused or rejected: its address and, where that is known, what it is.
    pub by: Option<String>,
    /// The process whose connect the kernel refused, as `comm[pid]`; `None` for any other outcome.
    pub process: Option<String>,
    /// The hops of the SYN (or query), in order of time.
    pub hops: Vec<Hop>,
    /// What came back, whether it arrived or not; `None` if nothing was seen to come back.
    pub reply: Option<ReplyKind>,
    /// The hops of what came back: SYN-ACK, RST, ICMP error or DNS answer.
    pub reply_hops: Vec<Hop>,
    /// Who lost it, and how we know; `None` where it was answered.
    pub verdict: Option<Verdict>,
}

/// One place on a packet's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The interface.
    pub ifname: String,
    /// The network namespace's inode number.
    pub netns: u32,
    /// The namespace's name.
    pub netns_name: Option<String>,
    /// The pod whose namespace it is, `namespace/name`.
    pub pod: Option<String>,
    /// Into or out of the namespace by that interface.
    pub dir: Direction,
    /// Microseconds since the attempt's first packet.
    pub at_us: u64,
    /// How often it was seen here; retransmissions count.
    pub times: u64,
    /// The flow as seen here, where it differs from the attempt's.
    pub flow: Option<Flow>,
    /// The flow of the encapsulating packet.
    pub outer: Option<Outer>,
    /// MTU of the interface, in bytes.
    pub mtu: u32,
}

/// A DNS question and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The query's id; `None` in a recording that has none.
    pub id: Option<u16>,
    /// The name asked for.
    pub question: String,
    /// The type asked for (`A`, `AAAA`, …, or its number).
    pub qtype: String,
    /// The answer's code (`NOERROR`, `NXDOMAIN`, `SERVFAIL`, …, or its number).
    pub rcode: Option<String>,
}

impl Dns {
    /// Whether an answer with this code says nothing of the name: the server cannot or will not answer.
    pub fn is_refusal(code: &str) -> bool {
        !matches!(code, "NOERROR" | "NXDOMAIN")
    }
}
