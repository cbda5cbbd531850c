//! One attempt's path through several nodes.

use std::time::SystemTime;

use super::{Dns, Flow, Hop, Outcome, Pod, SocketAddress, Verdict};

/// One connection attempt, as the traces of several nodes show it together.
#[derive(Debug, Clone)]
pub struct PathReport {
    /// When its first packet was seen, by the clock of the first node.
    pub ts: SystemTime,
    /// The flow as the first hop saw it: the client's own view, before any NAT.
    pub flow: Flow,
    /// The destination before DNAT, where the first hop seen was already behind it.
    pub original_dst: Option<SocketAddress>,
    /// Initial sequence number of the SYN; `None` for DNS.
    pub isn: Option<u32>,
    /// The DNS question and its answer; `None` for TCP.
    pub dns: Option<Dns>,
    /// The pod that owns the source address.
    pub src_pod: Option<Pod>,
    /// The pod that owns the destination address, after DNAT.
    pub dst_pod: Option<Pod>,
    /// What became of it at the client's end.
    pub outcome: Outcome,
    /// How many SYNs (or queries) the first node saw.
    pub syns: u64,
    /// Milliseconds from the first packet to the outcome, at the first node.
    pub waited_ms: u64,
    /// The hops of the SYN (or query), node by node.
    pub hops: Vec<PathHop>,
    /// The hops of what came back, node by node.
    pub reply_hops: Vec<PathHop>,
    /// The two nodes that it was lost between.
    pub between: Option<Between>,
    /// The nodes on the path, and how their clocks compare.
    pub clock: Vec<NodeClock>,
    /// Who lost it, and how we know; `None` where it was answered.
    pub verdict: Option<Verdict>,
}

/// One place on the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathHop {
    /// The node that saw it.
    pub node: String,
    /// What it saw. The time is microseconds since the first packet, by the clock of the first node
    /// where the clocks could be compared.
    pub hop: Hop,
}

/// Where between two nodes a packet was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Between {
    /// The node that it left.
    pub from: String,
    /// The node that it never came to.
    pub to: String,
    /// The flow of the encapsulating packet.
    pub outer: Option<Flow>,
}

/// A node's clock, compared with the first node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeClock {
    /// The node.
    pub node: String,
    /// Microseconds that its clock is ahead; `None` where no packet was seen at both.
    pub offset_us: Option<i64>,
    /// How far off that may be, in microseconds; `None` where packets of one direction only were
    /// seen at both.
    pub uncertainty_us: Option<u64>,
}
