//! Where a packet was lost, and how sure that is.

/// Where a packet was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Nothing at that address, or a Service without endpoints.
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
    /// The name has no address, or its server cannot say. Of a probe only.
    Dns,
    /// The handshake of TLS, or the certificate. Of a probe only.
    Tls,
    /// The program that answers. Of a probe only.
    Application,
    /// None of these can be shown.
    Unknown,
}

impl Point {
    /// Its name in reports.
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
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Application => "application",
            Self::Unknown => "unknown",
        }
    }
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// One explanation among others.
    Possible,
    /// The best explanation of what was seen.
    Likely,
    /// Seen happening.
    Confirmed,
}

impl Confidence {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Confirmed => "confirmed",
        }
    }
}
