//! Reads the entries of ARP and ND: `RTM_NEWNEIGH`.

use crate::node::{
    neighbour::{self, FIXED, Neighbour},
    rtnetlink::Message,
};

/// Asks for all of both versions.
pub(super) fn all() -> Message {
    Message::new(libc::RTM_GETNEIGH, &[0; FIXED])
}

pub(super) fn read(message: &Message) -> Option<Neighbour> {
    neighbour::entry(message)
}
