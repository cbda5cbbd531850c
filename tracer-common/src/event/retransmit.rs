//! A segment that is sent again.

use crate::tuple::Tuple;

/// A TCP segment that a socket on this machine sends again.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RetransmitEvent {
    /// [`kind::RETRANSMIT`](super::kind::RETRANSMIT).
    pub kind: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// The socket's flow: from its own address to its peer's.
    pub flow: Tuple,
    /// The socket's network namespace, as inode number.
    pub netns: u32,
    /// First sequence number of the segment, host byte order.
    pub seq: u32,
    /// Payload bytes of the skb: several segments where it is more than `mss`.
    pub len: u32,
    /// Payload bytes of a full segment, by the socket's current path MTU.
    pub mss: u32,
    /// The socket's state (`enum` in include/net/tcp_states.h).
    pub state: u32,
    /// Explicit padding.
    pub reserved: u32,
}
