//! Reads what a link is as a port of a bridge (`IFLA_BRPORT_…`).

use crate::node::{
    rtnetlink::{Attributes, u64_at},
    world::bridge::{Port, PortState},
};

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

pub(super) fn read(data: Attributes<'_>) -> Port {
    let byte = |wanted| data.get(wanted).and_then(|value| value.first().copied());
    let is_on = |wanted| byte(wanted) == Some(1);
    // Kernels that do not know the setting behave as if it were on.
    let is_not_off = |wanted| byte(wanted) != Some(0);
    let timer = data.get(brport::FORWARD_DELAY_TIMER);
    Port {
        state: byte(brport::STATE).map_or(PortState::Forwarding, PortState::new),
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
    use crate::node::rtnetlink::Message;

    #[test]
    fn a_port_waits_for_the_spanning_tree() {
        let message = Message::new(0, &[])
            .with(brport::STATE, &[1])
            .with(brport::MODE, &[1])
            .with(brport::LEARNING, &[0])
            .with(brport::FORWARD_DELAY_TIMER, &1423_u64.to_ne_bytes());
        let port = read(Attributes(&message.bytes));
        assert_eq!(port.state, PortState::Listening);
        assert!(port.hairpin && !port.learning && !port.isolated);
        assert!(port.unicast_flood && port.broadcast_flood);
        assert_eq!(port.forward_delay_timer, 1423);
    }
}
