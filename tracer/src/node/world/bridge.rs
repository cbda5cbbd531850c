//! Bridges, their ports, VLANs and forwarding databases.

use std::fmt;

use crate::node::neighbour::Mac;

/// A bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Spanning tree is on.
    pub stp: bool,
    /// How long a port listens, and then learns, in hundredths of a second.
    pub forward_delay: u32,
    /// Frames are kept to the VLANs of the ports.
    pub vlan_filtering: bool,
    /// IPv4 packets that it forwards meet iptables, by a setting of the bridge itself.
    pub nf_call_iptables: bool,
    /// The same for IPv6.
    pub nf_call_ip6tables: bool,
    /// Questions of ARP meet arptables.
    pub nf_call_arptables: bool,
}

/// What a link is as a port of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// What it does with frames.
    pub state: PortState,
    /// Frames may leave by the port that they came in by.
    pub hairpin: bool,
    /// No frames are exchanged with other isolated ports.
    pub isolated: bool,
    /// The addresses of senders are learned.
    pub learning: bool,
    /// Frames to unknown addresses leave by it.
    pub unicast_flood: bool,
    /// Broadcasts leave by it.
    pub broadcast_flood: bool,
    /// Multicasts leave by it.
    pub multicast_flood: bool,
    /// The bridge answers ARP and ND for what is behind other ports, and keeps the questions.
    pub neigh_suppress: bool,
    /// Frames from unknown addresses are not let in.
    pub locked: bool,
    /// Until the next state, in hundredths of a second; 0 if there is none.
    pub forward_delay_timer: u64,
}

/// State of a port in the spanning tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Out of use: the link is down, or has no carrier.
    Disabled,
    /// Waits for the spanning tree.
    Listening,
    /// Waits, and learns addresses.
    Learning,
    /// Forwards.
    Forwarding,
    /// Kept out by the spanning tree.
    Blocking,
    /// Another number.
    Other(u8),
}

impl PortState {
    pub(super) fn new(number: u8) -> Self {
        match number {
            0 => Self::Disabled,
            1 => Self::Listening,
            2 => Self::Learning,
            3 => Self::Forwarding,
            4 => Self::Blocking,
            other => Self::Other(other),
        }
    }
}

/// As bridge(8) prints it.
impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
            Self::Other(number) => return write!(f, "state {number}"),
        })
    }
}

/// Identifiers of VLANs, from the first to the last, at a port or at the bridge itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The port, or the bridge.
    pub ifindex: u32,
    /// The first identifier.
    pub first: u16,
    /// The last identifier.
    pub last: u16,
    /// Untagged frames that come in get it.
    pub pvid: bool,
    /// Its frames leave untagged.
    pub untagged: bool,
}

/// An entry of a bridge's forwarding database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// The bridge.
    pub bridge: u32,
    /// The port, or the bridge itself.
    pub ifindex: u32,
    /// The address.
    pub mac: Mac,
    /// Its VLAN, where the bridge filters by VLAN.
    pub vlan: Option<u16>,
    /// How it came about.
    pub kind: FdbKind,
}

/// How an entry came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdbKind {
    /// Learned from a frame.
    Learned,
    /// Configured, at a port.
    Static,
    /// An address of the bridge itself: frames to it are taken in, whatever port they came by.
    Own,
}
