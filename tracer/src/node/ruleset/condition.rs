//! Conditions of rules, as far as they are understood.

/// The address family that a field belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What of a packet is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    /// Source address.
    Source(Version),
    /// Destination address.
    Destination(Version),
    /// Source port, of this protocol or of any.
    SourcePort(Option<u8>),
    /// Destination port, of this protocol or of any.
    DestinationPort(Option<u8>),
    /// The transport protocol.
    Protocol(Option<Version>),
    /// The address family, by its `NFPROTO_` number.
    Family,
    /// The address family, by its EtherType.
    EtherType,
    /// Name of the interface it came in through.
    Input,
    /// Name of the interface it leaves through.
    Output,
    /// Name of the bridge port that it came in through.
    InputPort,
    /// Name of the bridge port that it leaves through.
    OutputPort,
    /// The ICMP type, of this protocol.
    IcmpType(u8),
    /// The ICMP code, of this protocol.
    IcmpCode(u8),
    /// Bits of a header.
    Header(Bits),
    /// Bytes from the network header up.
    Length,
    /// Source MAC address, as a number.
    SourceMac,
    /// Whether the frame was for this host, for all, or for a group.
    PacketType,
    /// What the routes call the source address: `local`, `unicast`, …
    SourceType,
    /// What the routes call the destination address.
    DestinationType,
    /// Whether the source is routed back through the interface that the packet came in through.
    ReversePath,
    /// The firewall mark, or the connection's.
    Mark(Mark),
    /// The state that conntrack gives the packet, as a [`state`] bit.
    State,
    /// 0 in the direction of the connection's first packet, 1 in that of its answers.
    Direction,
    /// An end of the connection, as its entry in conntrack has it.
    Entry(EntryEnd),
    /// Something that is not known of the packet, and that only some packets have.
    Unknown(Guard),
}

/// Which packets have a field at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Guard {
    /// All of them.
    Any,
    /// Those of one address family.
    Version(Version),
    /// Those of one transport protocol, unless they are later fragments.
    Transport(u8),
    /// No IP packet.
    Never,
}

/// Bits of a header, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bits {
    /// Where they are.
    pub(crate) layer: Layer,
    /// The first bit.
    pub(crate) at: u16,
    /// How many.
    pub(crate) count: u16,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Layer {
    /// That of one IP version.
    Network(Version),
    /// Any IP version's.
    AnyNetwork,
    /// That of one transport protocol.
    Transport(u8),
    /// Any transport protocol's.
    AnyTransport,
}

/// Which mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mark {
    /// The packet's.
    Packet,
    /// The connection's.
    Connection,
}

/// A part of a connection's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntryEnd {
    /// Of the tuple of its answers.
    pub(crate) is_reply: bool,
    /// The source's.
    pub(crate) is_source: bool,
    /// The port, and not the address.
    pub(crate) is_port: bool,
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    /// The fields, taken together, are among the values.
    In {
        /// The fields.
        key: Vec<Field>,
        /// They are not among the values.
        negated: bool,
        /// The values.
        values: Values,
    },
    /// The field, as far as the mask goes, is among the values.
    Masked {
        /// The field.
        field: Field,
        /// The bits looked at.
        mask: u128,
        /// It is not among the values.
        negated: bool,
        /// The values.
        values: Vec<Element>,
    },
    /// `mark & mask == value`.
    Mark {
        /// Which mark.
        of: Mark,
        /// The bits looked at.
        mask: u32,
        /// What they must be.
        value: u32,
        /// What they must not be.
        negated: bool,
    },
    /// The state that conntrack gives the packet.
    State {
        /// The states that match, as [`state`] bits.
        states: u8,
        /// A connection whose destination or source was translated matches as well.
        translated: Translated,
        /// These states do not match.
        negated: bool,
    },
    /// `flags & mask == value`, or without a value, `flags & mask != 0`.
    TcpFlags {
        /// The flags looked at.
        mask: u8,
        /// What they must be.
        value: Option<u8>,
        /// What they must not be.
        negated: bool,
    },
    /// A fragment behind the first one.
    LaterFragment {
        /// Not one.
        negated: bool,
    },
    /// May hold or not, for packets that have what it asks for.
    Unknown(Guard),
}

/// Which translations a condition asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Translated {
    /// That of the source.
    pub(crate) source: bool,
    /// That of the destination.
    pub(crate) destination: bool,
}

/// Where the values are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// In the rule.
    Inline(Vec<Element>),
    /// In a named set of the table.
    Set(String),
    /// In an ipset; the directions say which address and port are looked up.
    IpSet {
        /// Its name.
        name: String,
        /// For each part of the key: it is the source's.
        sources: Vec<bool>,
    },
}

/// One value: one part for each field of the key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Element {
    /// Its parts; none at all match everything.
    pub(crate) parts: Vec<Part>,
    /// Its comment.
    pub(crate) comment: Option<String>,
    /// How it stands with the time at which the packet was dropped.
    pub(crate) since: Since,
    /// What it holds is not in the set, although a wider element of it is (`nomatch`).
    pub(crate) is_exception: bool,
}

/// Whether an element that is in a set now was there when the packet was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Since {
    /// It stays until it is taken out.
    #[default]
    Forever,
    /// It was put in this many seconds ago, and goes by itself.
    Seconds(u64),
    /// It may be younger than the drop, or match some packets only.
    Unknown,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// From the first to the second, both included. Addresses are numbers, too.
    Range(u128, u128),
    /// A name; a `*` at its end stands for any rest.
    Name(String),
    /// Anything.
    Any,
    /// Not understood.
    Unknown,
}

impl Element {
    /// A value of one part.
    pub(crate) fn of(part: Part) -> Self {
        Self {
            parts: vec![part],
            ..Self::default()
        }
    }
}

impl Part {
    /// One number.
    pub(crate) fn number(number: impl Into<u128>) -> Self {
        let number = number.into();
        Self::Range(number, number)
    }
}

/// States of conntrack, as bits.
pub(crate) mod state {
    /// Fits no connection.
    pub(crate) const INVALID: u8 = 1;
    /// Belongs to a connection that was answered.
    pub(crate) const ESTABLISHED: u8 = 2;
    /// Speaks of a connection, or was announced by one.
    pub(crate) const RELATED: u8 = 4;
    /// Begins a connection.
    pub(crate) const NEW: u8 = 8;
    /// Exempted from tracking.
    pub(crate) const UNTRACKED: u8 = 16;
    /// Any of them.
    pub(crate) const ALL: u8 = 31;

    /// The bit of a state's name, in either case.
    pub(crate) fn from_name(name: &str) -> Option<u8> {
        Some(match name.to_ascii_lowercase().as_str() {
            "invalid" => INVALID,
            "established" => ESTABLISHED,
            "related" => RELATED,
            "new" => NEW,
            "untracked" => UNTRACKED,
            _ => return None,
        })
    }
}

/// The bit of a TCP flag's name, in either case.
pub(crate) fn tcp_flag(name: &str) -> Option<u8> {
    Some(match name.to_ascii_lowercase().as_str() {
        "fin" => 1,
        "syn" => 2,
        "rst" => 4,
        "psh" => 8,
        "ack" => 16,
        "urg" => 32,
        "ecn" => 64,
        "cwr" => 128,
        "all" => 63,
        "none" => 0,
        _ => return None,
    })
}

/// The number of a transport protocol's name.
pub(crate) fn protocol(name: &str) -> Option<u8> {
    Some(match name {
        "icmp" => 1,
        "igmp" => 2,
        "ipencap" | "ipip" => 4,
        "tcp" => 6,
        "udp" => 17,
        "dccp" => 33,
        "ipv6" => 41,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "ipv6-icmp" | "icmpv6" => 58,
        "vrrp" => 112,
        "sctp" => 132,
        "udplite" => 136,
        _ => return name.parse().ok(),
    })
}
