//! What became of a connection attempt.

/// What became of a connection attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// The kernel refused the connect before a packet was sent.
    Unsent,
}

impl Outcome {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Unanswered => "unanswered",
            Self::Stalled => "stalled",
            Self::Unsent => "unsent",
        }
    }
}

/// What came back to a connection attempt's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// A SYN-ACK, or a DNS answer.
    Answer,
    /// A RST.
    Reset,
    /// An ICMP error.
    Error,
}

/// How far TLS got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsStage {
    /// The ClientHello was sent, and not acknowledged.
    Sent,
    /// The ClientHello was acknowledged.
    Acknowledged,
    /// The server has sent data.
    Answered,
    /// A RST came in answer to the ClientHello.
    Reset,
}
