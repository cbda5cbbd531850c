//! What a link is as a port of a bridge (`IFLA_BRPORT_…`).

use std::fmt;

use crate::net::message::{Attributes, u64_at};

/// What a link is as a port of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BridgePort {
    /// What it does with frames.
    pub(crate) state: PortState,
    /// Frames may leave through the port that they came in through.
    pub(crate) hairpin: bool,
    /// No frames are exchanged with other isolated ports.
    pub(crate) isolated: bool,
    /// The addresses of senders are learned.
    pub(crate) learning: bool,
    /// Frames to unknown addresses leave through it.
    pub(crate) unicast_flood: bool,
    /// Broadcasts leave through it.
    pub(crate) broadcast_flood: bool,
    /// Multicasts leave through it.
    pub(crate) multicast_flood: bool,
    /// The bridge answers ARP and ND for what is behind other ports, and keeps the questions.
    pub(crate) neigh_suppress: bool,
    /// Frames from unknown addresses are not let in.
    pub(crate) locked: bool,
    /// Until the next state, in hundredths of a second; 0 if there is none.
    pub(crate) forward_delay_timer: u64,
}

/// State of a port in the spanning tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortState {
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
    fn new(number: u8) -> Self {
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

/// Numbers of include/uapi/linux/if_link.h.
mod brport {
    pub(super) const STATE: u16 = 1;
    pub(super) const MODE: u16 = 4;
    pub(super) const LEARNING: u16 = 8;
    pub(super) const UNICAST_FLOOD: u16 = 9;
    pub(super) const FORWARD_DELAY_TIMER: u16 = 22;
    pub(super) const MCAST_FLOOD: u16 = 27;
    pub(super) const BCAST_FLOOD: u16 = 30;
    pub(super) const NEIGH_SUPPRESS: u16 = 32;
    pub(super) const ISOLATED: u16 = 33;
    pub(super) const LOCKED: u16 = 39;
}

pub(super) fn read(data: Attributes<'_>) -> BridgePort {
    let is_on = |wanted| data.u8(wanted) == Some(1);
    // Kernels that do not know the setting behave as if it were on.
    let is_not_off = |wanted| data.u8(wanted) != Some(0);
    let timer = data.get(brport::FORWARD_DELAY_TIMER);
    BridgePort {
        state: data
            .u8(brport::STATE)
            .map_or(PortState::Forwarding, PortState::new),
        hairpin: is_on(brport::MODE),
        isolated: is_on(brport::ISOLATED),
        learning: is_not_off(brport::LEARNING),
        unicast_flood: is_not_off(brport::UNICAST_FLOOD),
        broadcast_flood: is_not_off(brport::BCAST_FLOOD),
        multicast_flood: is_not_off(brport::MCAST_FLOOD),
        neigh_suppress: is_on(brport::NEIGH_SUPPRESS),
        locked: is_on(brport::LOCKED),
        forward_delay_timer: timer.and_then(|value| u64_at(value, 0)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::message::Request;

    #[test]
    fn a_port_waits_for_the_spanning_tree() {
        let request = Request::new(0, &[])
            .with(brport::STATE, &[1])
            .with(brport::MODE, &[1])
            .with(brport::LEARNING, &[0])
            .with(brport::FORWARD_DELAY_TIMER, &1423_u64.to_ne_bytes());
        let port = read(request.message().attributes(0));
        assert_eq!(port.state, PortState::Listening);
        assert!(port.hairpin && !port.learning && !port.isolated);
        assert!(port.unicast_flood && port.broadcast_flood);
        assert_eq!(port.forward_delay_timer, 1423);
    }
}
