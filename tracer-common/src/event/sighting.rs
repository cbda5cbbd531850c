//! A packet of a handshake at an interface.

use core::mem::offset_of;

use super::CAPTURE_LEN;
use crate::tuple::Tuple;

/// Which way a packet passes an interface, seen from its namespace.
pub mod direction {
    /// Received: tc ingress.
    pub const IN: u32 = 0;
    /// Sent: tc egress.
    pub const OUT: u32 = 1;
}

/// A packet of a handshake (or a DNS message, or an ICMP error), seen at an interface. What is not in
/// use of `capture` is not sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SightingEvent {
    /// [`kind::SIGHTING`](super::kind::SIGHTING).
    pub kind: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// Conntrack's original tuple; all zero where there is none yet.
    pub original: Tuple,
    /// Where it was seen.
    pub place: Sighted,
    /// Bytes from the network header to the end.
    pub len: u32,
    /// Bytes of `capture` in use.
    pub capture_len: u32,
    /// The first bytes of the payload of a TCP segment that settles a handshake; zero where there
    /// are not as many. `capture` need not have them: the sender's are in pages of their own.
    pub payload: [u8; 8],
    /// The packet, from the network header up.
    pub capture: [u8; CAPTURE_LEN],
}

/// An interface that a packet was seen at.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Sighted {
    /// Network namespace, as inode number.
    pub netns: u32,
    /// Interface, unique within `netns`.
    pub ifindex: u32,
    /// [`direction::IN`] or [`direction::OUT`].
    pub direction: u32,
    /// MTU of the interface.
    pub mtu: u32,
    /// Name of the interface, NUL-padded.
    pub ifname: [u8; 16],
}

/// What is known of a handshake (or of a DNS query) that matches the filter.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Handshake {
    /// Sightings of packets behind the SYN-ACK, which settle it. Only so many are sent.
    pub settling: u64,
    /// The client's port where it was first seen. There are few ids of DNS queries, and others have
    /// the same.
    pub port: u64,
}

/// The key of a handshake: what stays the same on its whole way, through NAT and encapsulation.
///
/// For TCP it is the SYN's initial sequence number, for DNS over UDP the query's id; the protocol
/// keeps the two apart.
pub const fn handshake_key(proto: u8, number: u32) -> u64 {
    (proto as u64) << 32 | number as u64
}

impl SightingEvent {
    /// How many bytes of it are in use.
    #[inline(always)]
    pub fn sent_len(&self) -> usize {
        offset_of!(Self, capture) + (self.capture_len as usize).min(CAPTURE_LEN)
    }

    /// The captured bytes of the packet.
    pub fn captured(&self) -> &[u8] {
        &self.capture[..(self.capture_len as usize).min(CAPTURE_LEN)]
    }
}
