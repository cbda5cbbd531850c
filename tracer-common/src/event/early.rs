//! Sightings from before a handshake matches the filter.

use crate::tuple::Tuple;

/// How many sightings of a SYN are kept before one of them matches the filter.
pub const EARLY_HOPS: usize = 4;
/// How many SYNs and queries have a place for such sightings, as a power of two.
const EARLY_PLACES_LOG2: u32 = 11;
/// The same as a number.
pub const EARLY_PLACES: u32 = 1 << EARLY_PLACES_LOG2;

/// Sightings of a SYN that did not match the filter there. NAT may make it match at a later hop;
/// then these are the hops before.
///
/// Each key has one place, which later keys take over: of SYNs that never match there is no end, and
/// they match within moments or not at all.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EarlyHops {
    /// How many of `hops` are in use.
    pub len: u64,
    /// The sightings, oldest first. All are of one key, unless CPUs raced for the place.
    pub hops: [EarlyHop; EARLY_HOPS],
}

/// One of [`EarlyHops`].
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct EarlyHop {
    /// The [`handshake_key`](super::handshake_key).
    pub key: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// The innermost flow.
    pub flow: Tuple,
    /// The interface's `struct net_device *`, until `netns` and `ifindex` are read from it. Few early hops
    /// are ever needed, so that is done as late as possible.
    pub device: u64,
    /// Network namespace, as inode number.
    pub netns: u32,
    /// Interface, unique within `netns`.
    pub ifindex: u32,
    /// [`direction::IN`](super::direction::IN) or [`direction::OUT`](super::direction::OUT).
    pub direction: u32,
    /// Explicit padding.
    pub reserved: u32,
}

impl EarlyHops {
    /// The index of a key's place. Fibonacci hashing: the numbers of some senders follow each other.
    #[inline(always)]
    pub const fn place(key: u64) -> u32 {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - EARLY_PLACES_LOG2)) as u32
    }

    /// The sightings of a key.
    pub fn of(&self, key: u64) -> impl Iterator<Item = &EarlyHop> {
        let len = usize::try_from(self.len).unwrap_or(EARLY_HOPS);
        let hops = &self.hops[..len.min(EARLY_HOPS)];
        hops.iter().filter(move |hop| hop.key == key)
    }
}
