//! Handshakes that stay in the kernel until they fail.
//!
//! A healthy handshake is of no interest to userspace. Its events wait in a [`HeldLog`], and are read
//! only if it is not over soon, or if something happens to it. Each key has one place; a place that is
//! taken sends the next handshake's events at once, as if there were no places.

use core::mem::{offset_of, size_of};

use super::{EarlyHops, SightingEvent, kind};
use crate::tuple::Tuple;

/// How many handshakes are held at once at most, as a power of two.
const PLACES_LOG2: u32 = 12;
/// The same as a number. There may be fewer, by the memory that there is.
pub const HELD_PLACES: usize = 1 << PLACES_LOG2;
/// How many flows lead to the place of their handshake, as a power of two.
const FLOWS_LOG2: u32 = 14;
/// The same as a number.
pub const HELD_FLOWS: usize = 1 << FLOWS_LOG2;
/// Bytes of events that a handshake has room for: more than ten hops of plain packets.
pub const HELD_BYTES: usize = 2560;
/// Segments behind a handshake that is over, with the number that follows the SYN's. The last ACK and
/// the first data have it, at a few hops each; more of them are data that is sent again.
pub const SETTLED_SEGMENTS: u32 = 24;

/// What a place is in use for.
pub mod held_state {
    /// Nothing.
    pub const FREE: u32 = 0;
    /// A handshake that is not over.
    pub const OPEN: u32 = 1;
    /// One that was answered, and acknowledged where it began.
    pub const SETTLED: u32 = 2;
    /// One that userspace is to read: a [`ReleaseEvent`](super::ReleaseEvent) says so.
    pub const RELEASED: u32 = 3;
}

/// The state of one place.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Held {
    /// The [`handshake_key`](super::handshake_key).
    pub key: u64,
    /// When its first packet was seen, nanoseconds of `CLOCK_MONOTONIC`.
    pub since: u64,
    /// One of [`held_state`].
    pub state: u32,
    /// Segments as of [`SETTLED_SEGMENTS`].
    pub segments: u32,
}

/// The events of one handshake.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HeldLog {
    /// The [`handshake_key`](super::handshake_key).
    pub key: u64,
    /// Bytes of `bytes` in use.
    pub len: u32,
    /// The flow of its first packet, as [`held_flow`] has it.
    pub flow: u32,
    /// Where its first packet was seen: the namespace, as inode number, …
    pub netns: u32,
    /// … the interface in it, …
    pub ifindex: u32,
    /// … and which way it went, as [`direction`](super::direction) has it.
    pub direction: u32,
    /// Not 0: a SYN-ACK of this flow was seen.
    pub is_answered: u32,
    /// Not 0: it was counted as answered before it was released.
    pub was_settled: u32,
    /// Explicit padding.
    pub reserved: u32,
    /// A [`SightingEvent`] for each packet, oldest first, and an [`EarlyEvent`] if there were hops
    /// before; what is not in use of one's capture is left out. Each starts at a multiple of eight.
    pub bytes: [u8; HELD_BYTES],
}

/// Early hops that were kept with their handshake.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct EarlyEvent {
    /// [`kind::EARLY`].
    pub kind: u64,
    /// The [`handshake_key`](super::handshake_key).
    pub key: u64,
    /// The hops.
    pub hops: EarlyHops,
}

/// Says that userspace is to read a handshake's log.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseEvent {
    /// [`kind::RELEASE`].
    pub kind: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// The [`handshake_key`](super::handshake_key).
    pub key: u64,
}

/// The place of a key, of so many: a power of two. Fibonacci hashing: the numbers of some senders follow
/// each other.
#[inline(always)]
pub const fn held_place(key: u64, places: u32) -> usize {
    let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES_LOG2);
    hash as usize & (places as usize - 1)
}

/// Where the place of a flow's handshake is said, whichever way the flow goes.
#[inline(always)]
pub fn held_flow(tuple: &Tuple) -> u32 {
    let mix = |address: u64, port: u16| {
        (address ^ u64::from(port) << 17).wrapping_mul(0xff51_afd7_ed55_8ccd)
    };
    let ends = mix(tuple.src.low(), tuple.sport) ^ mix(tuple.dst.low(), tuple.dport);
    (ends.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - FLOWS_LOG2)) as u32
}

impl HeldLog {
    /// The events, oldest first. Ends at the first that is cut off or of another kind.
    pub fn events(&self) -> impl Iterator<Item = &[u8]> {
        let used = (self.len as usize).min(HELD_BYTES);
        let mut rest = &self.bytes[..used];
        core::iter::from_fn(move || {
            let len = event_len(rest)?;
            let event = rest.get(..len)?;
            rest = rest.get(len.next_multiple_of(8)..).unwrap_or_default();
            Some(event)
        })
    }
}

/// The length of the event that these bytes start with.
fn event_len(bytes: &[u8]) -> Option<usize> {
    const CAPTURE_LEN_AT: usize = offset_of!(SightingEvent, capture_len);
    let first = bytes.get(..8)?.try_into().ok()?;
    match u64::from_ne_bytes(first) {
        kind::SIGHTING => {
            let len = bytes.get(CAPTURE_LEN_AT..CAPTURE_LEN_AT + 4)?;
            let len = u32::from_ne_bytes(len.try_into().ok()?) as usize;
            Some(offset_of!(SightingEvent, capture) + len.min(super::CAPTURE_LEN))
        }
        kind::EARLY => Some(size_of::<EarlyEvent>()),
        _ => None,
    }
}
