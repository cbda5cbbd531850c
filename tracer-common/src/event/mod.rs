//! What travels from the kernel programs to userspace.
//!
//! Everything is `repr(C)` with explicit padding, native byte order; both sides are compiled from
//! this file, on the same machine type.

mod connect;
mod drop;
mod early;
mod held;
mod retransmit;
mod sighting;

#[cfg(test)]
mod tests;

use core::mem::{MaybeUninit, offset_of};

pub use self::{
    connect::{ConnectEvent, connect_stage},
    drop::{DropCount, DropEvent, DropKey, STACK_DEPTH, StackPolicy, ct, netns_from},
    early::{EARLY_HOPS, EARLY_PLACES, EarlyHop, EarlyHops},
    held::{
        EarlyEvent, HELD_BYTES, HELD_FLOWS, HELD_PLACES, Held, HeldLog, ReleaseEvent,
        SETTLED_SEGMENTS, held_flow, held_place, held_state,
    },
    retransmit::RetransmitEvent,
    sighting::{Handshake, Sighted, SightingEvent, direction, handshake_key},
};

/// Bytes of the packet that an event carries, from the network header up.
pub const CAPTURE_LEN: usize = 192;
/// How long after a wake-up events do not wake userspace, in milliseconds.
pub const WAKE_PAUSE_MS: u64 = 20;
/// How often userspace looks for events by itself for as long as that, in milliseconds.
pub const LOOK_AGAIN_MS: u64 = 2;

/// The first field of every event.
pub mod kind {
    /// A [`super::DropEvent`].
    pub const DROP: u64 = 1;
    /// A [`super::SightingEvent`].
    pub const SIGHTING: u64 = 2;
    /// A [`super::RetransmitEvent`].
    pub const RETRANSMIT: u64 = 3;
    /// A [`super::ReleaseEvent`].
    pub const RELEASE: u64 = 4;
    /// A [`super::EarlyEvent`], in a [`super::HeldLog`] only.
    pub const EARLY: u64 = 5;
    /// A [`super::ConnectEvent`].
    pub const CONNECT: u64 = 6;
}

/// Indices of the per-CPU counters.
pub mod tally {
    /// Matching drops that found the counting map full or locked: known in number only.
    pub const UNCOUNTED: u32 = 0;
    /// Events that found the ring buffer full.
    pub const LOST: u32 = 1;
    /// Packets that claimed to be IP and could not be parsed.
    pub const MALFORMED: u32 = 2;
    /// Handshakes that are held, or were.
    pub const HELD: u32 = 3;
    /// Those of them that were answered, and acknowledged where they began.
    pub const ANSWERED: u32 = 4;
    /// How many counters there are.
    pub const LEN: u32 = 5;
}

/// Any event of the ring buffer.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one event; this crate does not allocate"
)]
pub enum Event {
    /// A packet was dropped.
    Drop(DropEvent),
    /// A packet was seen at an interface.
    Sighting(SightingEvent),
    /// A segment is sent again.
    Retransmit(RetransmitEvent),
    /// The events of a handshake are to be read.
    Release(ReleaseEvent),
    /// Early hops that were kept with their handshake.
    Early(EarlyEvent),
    /// A connect failed before it sent a packet.
    Connect(ConnectEvent),
}

impl Event {
    /// Reads an event from the bytes of a ring-buffer record; `None` if its kind is unknown or its
    /// length is not one of its kind.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?) {
            kind::DROP => read_start(bytes, offset_of!(DropEvent, capture))
                .filter(|event: &DropEvent| event.sent_len() <= bytes.len())
                .map(Self::Drop),
            kind::SIGHTING => read_start(bytes, offset_of!(SightingEvent, capture))
                .filter(|event: &SightingEvent| event.sent_len() <= bytes.len())
                .map(Self::Sighting),
            kind::RETRANSMIT => read(bytes).map(Self::Retransmit),
            kind::RELEASE => read(bytes).map(Self::Release),
            kind::EARLY => read(bytes).map(Self::Early),
            kind::CONNECT => read(bytes).map(Self::Connect),
            _ => None,
        }
    }
}

/// The [`handshake_key`] whose log is to be read, if this is a [`ReleaseEvent`].
pub fn released(bytes: &[u8]) -> Option<u64> {
    match Event::from_bytes(bytes)? {
        Event::Release(event) => Some(event.key),
        _ => None,
    }
}

/// The early hops, if this is an [`EarlyEvent`].
pub fn early_hops(bytes: &[u8]) -> Option<EarlyEvent> {
    match Event::from_bytes(bytes)? {
        Event::Early(event) => Some(event),
        _ => None,
    }
}

/// When an event happened, in nanoseconds of `CLOCK_MONOTONIC`: the second field of every event.
pub fn time_of(bytes: &[u8]) -> Option<u64> {
    let time = bytes.get(8..16)?.try_into().ok()?;
    Some(u64::from_ne_bytes(time))
}

/// The event types: integers and arrays of them, so that every bit pattern is a value.
trait FromKernel: Copy {}
impl FromKernel for DropEvent {}
impl FromKernel for SightingEvent {}
impl FromKernel for RetransmitEvent {}
impl FromKernel for ReleaseEvent {}
impl FromKernel for EarlyEvent {}
impl FromKernel for ConnectEvent {}

fn read<T: FromKernel>(bytes: &[u8]) -> Option<T> {
    (bytes.len() == size_of::<T>()).then(|| {
        // SAFETY: the length is right, and every bit pattern of the type is a value.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    })
}

/// The same of a record that may leave out the type's last bytes, behind the first `least`; they read
/// as zero.
fn read_start<T: FromKernel>(bytes: &[u8], least: usize) -> Option<T> {
    (least..=size_of::<T>()).contains(&bytes.len()).then(|| {
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: there are no more bytes than the type has, and every bit pattern is a value.
        unsafe {
            value
                .as_mut_ptr()
                .cast::<u8>()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            value.assume_init()
        }
    })
}
