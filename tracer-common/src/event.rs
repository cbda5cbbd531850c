//! What travels from the kernel programs to userspace.
//!
//! Everything is `repr(C)` with explicit padding, native byte order; both sides are compiled from
//! this file, on the same machine type.

use core::mem::{MaybeUninit, offset_of};

use crate::{patched, tuple::Tuple};

/// Bytes of the packet that an event carries, from the network header up.
pub const CAPTURE_LEN: usize = 192;
/// Frames of the kernel stack that an event carries, innermost first.
pub const STACK_DEPTH: usize = 40;

/// How long after a wake-up events do not wake userspace, in milliseconds.
pub const WAKE_PAUSE_MS: u64 = 20;
/// How often userspace looks for events by itself for as long as that, in milliseconds.
pub const LOOK_AGAIN_MS: u64 = 2;

/// What makes two drops alike: they are counted together, exactly, in the kernel.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DropKey {
    /// The flow, inside of any tunnel.
    pub flow: Tuple,
    /// Address of the code that freed the skb.
    pub location: u64,
    /// Value of the running kernel's `enum skb_drop_reason`.
    pub reason: u32,
    /// Network namespace, as inode number; 0 if it cannot be told.
    pub netns: u32,
    /// Interface, unique within `netns`; 0 if it cannot be told.
    pub ifindex: u32,
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// 1 if the packet carries TCP payload.
    pub has_payload: u8,
    /// ICMP or ICMPv6 type; 0 for other protocols.
    pub icmp_type: u8,
    /// Explicit padding.
    pub reserved: u8,
}

/// The exact count of one [`DropKey`], and what bounds its events.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct DropCount {
    /// Packets dropped.
    pub count: u64,
    /// Start of the current second of showing, nanoseconds of `CLOCK_MONOTONIC`.
    pub window: u64,
    /// Events sent in the current second.
    pub sent: u64,
}

/// The first field of every event.
pub mod kind {
    /// A [`super::DropEvent`].
    pub const DROP: u64 = 1;
    /// A [`super::SightingEvent`].
    pub const SIGHTING: u64 = 2;
    /// A [`super::RetransmitEvent`].
    pub const RETRANSMIT: u64 = 3;
}

/// What conntrack has said of a packet: [`DropEvent::ct`].
pub mod ct {
    /// `enum ip_conntrack_info`, the lowest bits of `skb->_nfct` (`NFCT_INFOMASK` in the kernel).
    pub const INFO: u32 = 7;
    /// The packet has an entry.
    pub const ENTRY: u32 = 8;
    /// `IPS_SRC_NAT` of the kernel's UAPI (include/uapi/linux/netfilter/nf_conntrack_common.h), in
    /// the entry's own status.
    pub const SRC_NAT: u32 = 1 << 4;
    /// `IPS_DST_NAT`, likewise.
    pub const DST_NAT: u32 = 1 << 5;
    /// `skb->_nfct` could be read; without this bit nothing is known.
    pub const READ: u32 = 16;
}

/// One dropped packet, as sent through the ring buffer: what is not in use at its end is left out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DropEvent {
    /// [`kind::DROP`].
    pub kind: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// What it is counted under.
    pub key: DropKey,
    /// The key's exact count at this packet, itself included.
    pub count: u64,
    /// Conntrack's original tuple; all zero if the packet has no conntrack entry.
    pub original: Tuple,
    /// Bytes of `stack` in use; negative is the error of `bpf_get_stack`.
    pub stack_bytes: i64,
    /// Bytes from the network header to the end, paged ones included; all segments of a GSO packet.
    pub len: u32,
    /// TCP payload of each segment of a GSO packet; 0 otherwise.
    pub gso_size: u32,
    /// MTU of the interface in `key`; 0 if there is none.
    pub mtu: u32,
    /// The firewall mark.
    pub mark: u32,
    /// Ifindex of the interface the packet came in by; 0 for local output.
    pub iif: u32,
    /// The thread on the CPU; meaningful where the drop is made in process context only.
    pub pid: u32,
    /// That thread's name, NUL-padded.
    pub comm: [u8; 16],
    /// Name of the interface in `key`, NUL-padded.
    pub ifname: [u8; 16],
    /// How `key.netns` was found.
    pub netns_from: u32,
    /// What conntrack has said of it, as [`ct`] has it.
    pub ct: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes of `capture` in use.
    pub capture_len: u32,
    /// The packet, from the network header up.
    pub capture: [u8; CAPTURE_LEN],
    /// The kernel stack, innermost first.
    pub stack: [u64; STACK_DEPTH],
}

/// Which drops carry the kernel stack. Walking it costs more than all else of an event.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackPolicy {
    /// Not 0: all of them.
    pub always: u32,
    /// These reasons do not say enough without it. 0 stands for none.
    pub reasons: [u32; 4],
}

impl StackPolicy {
    /// Whether a drop for this reason carries it.
    #[inline(always)]
    pub fn wants(&self, reason: u32) -> bool {
        patched(&self.always) != 0
            || (reason != 0 && self.reasons.iter().any(|wanted| patched(wanted) == reason))
    }
}

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
    /// [`kind::SIGHTING`].
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
}

/// The key of a handshake: what stays the same on its whole way, through NAT and encapsulation.
///
/// For TCP it is the SYN's initial sequence number, for DNS over UDP the query's id; the protocol
/// keeps the two apart.
pub const fn handshake_key(proto: u8, number: u32) -> u64 {
    (proto as u64) << 32 | number as u64
}

/// How many sightings of a SYN are kept before one of them matches the filter.
pub const EARLY_HOPS: usize = 4;
/// How many SYNs and queries have a place for such sightings, as a power of two.
const EARLY_PLACES_LOG2: u32 = 12;
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
    /// The [`handshake_key`].
    pub key: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// The innermost flow.
    pub flow: Tuple,
    /// Where it was seen.
    pub place: Sighted,
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

/// A TCP segment that a socket on this machine sends again.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RetransmitEvent {
    /// [`kind::RETRANSMIT`].
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

/// How the network namespace of an skb was found, best first.
pub mod netns_from {
    /// It could not be found.
    pub const NOTHING: u32 = 0;
    /// From `skb->dev`.
    pub const DEVICE: u32 = 1;
    /// From the output device of its route.
    pub const ROUTE: u32 = 2;
    /// From the socket that owns the skb: after the first veth hop, still the sender's.
    pub const SOCKET: u32 = 3;
    /// From the socket that received it.
    pub const RECEIVER: u32 = 4;
}

/// Indices of the per-CPU counters.
pub mod tally {
    /// Matching drops that found the counting map full or locked: known in number only.
    pub const UNCOUNTED: u32 = 0;
    /// Events that found the ring buffer full.
    pub const LOST: u32 = 1;
    /// Packets that claimed to be IP and could not be parsed.
    pub const MALFORMED: u32 = 2;
    /// How many counters there are.
    pub const LEN: u32 = 3;
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
            _ => None,
        }
    }
}

/// The event types: integers and arrays of them, so that every bit pattern is a value.
trait FromKernel: Copy {}
impl FromKernel for DropEvent {}
impl FromKernel for SightingEvent {}
impl FromKernel for RetransmitEvent {}

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

impl DropEvent {
    /// How many bytes of it are in use. The stack is at the end; most have none.
    #[inline(always)]
    pub fn sent_len(&self) -> usize {
        if self.stack_bytes > 0 {
            offset_of!(Self, stack) + (self.stack_bytes as usize).min(size_of_val(&self.stack))
        } else {
            offset_of!(Self, capture) + (self.capture_len as usize).min(CAPTURE_LEN)
        }
    }

    /// The captured bytes of the packet.
    pub fn captured(&self) -> &[u8] {
        &self.capture[..(self.capture_len as usize).min(CAPTURE_LEN)]
    }

    /// Return addresses of the kernel stack, innermost first.
    pub fn frames(&self) -> &[u64] {
        let frames = usize::try_from(self.stack_bytes).unwrap_or(0) / size_of::<u64>();
        &self.stack[..frames.min(STACK_DEPTH)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_event(fill: u8) -> DropEvent {
        read(&[fill; size_of::<DropEvent>()]).unwrap()
    }

    #[test]
    fn an_event_of_another_length_or_kind_is_refused() {
        for (kind, lengths) in [
            (0, None),
            (
                kind::DROP,
                Some(offset_of!(DropEvent, capture)..=size_of::<DropEvent>()),
            ),
            (
                kind::SIGHTING,
                Some(offset_of!(SightingEvent, capture)..=size_of::<SightingEvent>()),
            ),
            (
                kind::RETRANSMIT,
                Some(size_of::<RetransmitEvent>()..=size_of::<RetransmitEvent>()),
            ),
            (4, None),
        ] {
            let mut bytes = vec![0; 2000];
            bytes[..8].copy_from_slice(&kind.to_ne_bytes());
            for len in 0..2000 {
                assert_eq!(
                    Event::from_bytes(&bytes[..len]).is_some(),
                    lengths
                        .as_ref()
                        .is_some_and(|lengths| lengths.contains(&len)),
                    "{len} bytes of kind {kind}"
                );
            }
        }
    }

    #[test]
    fn what_an_event_says_to_have_must_be_there() {
        let sent = |event: &DropEvent, len: usize| {
            // SAFETY: an event is plain integers, without padding.
            let bytes = unsafe {
                core::slice::from_raw_parts(core::ptr::from_ref(event).cast::<u8>(), len)
            };
            match Event::from_bytes(bytes) {
                Some(Event::Drop(event)) => Some((event.captured().len(), event.frames().len())),
                _ => None,
            }
        };
        let mut event = drop_event(0);
        event.kind = kind::DROP;
        event.capture_len = 40;
        let len = event.sent_len();
        assert_eq!(len, offset_of!(DropEvent, capture) + 40);
        assert_eq!(sent(&event, len), Some((40, 0)));
        assert_eq!(sent(&event, len - 1), None);
        event.stack_bytes = 16;
        let len = event.sent_len();
        assert_eq!(len, offset_of!(DropEvent, stack) + 16);
        assert_eq!(sent(&event, len), Some((40, 2)));
        assert_eq!(sent(&event, len - 1), None);
    }

    #[test]
    fn early_hops_are_those_of_their_own_key() {
        let hop = |key| EarlyHop {
            key,
            ..EarlyHop::default()
        };
        let mut hops = EarlyHops {
            len: u64::MAX,
            hops: [hop(1), hop(2), hop(1), hop(0)],
        };
        assert_eq!(hops.of(1).count(), 2);
        hops.len = 1;
        assert_eq!((hops.of(1).count(), hops.of(2).count()), (1, 0));
        assert!((0..100_000).all(|key| EarlyHops::place(key) < EARLY_PLACES));
    }

    #[test]
    fn lengths_from_the_kernel_are_never_trusted() {
        let mut event = drop_event(0xff);
        assert_eq!(event.captured().len(), CAPTURE_LEN);
        assert_eq!(event.frames().len(), 0, "-1 is an error of bpf_get_stack");
        event.stack_bytes = i64::MAX;
        assert_eq!(event.frames().len(), STACK_DEPTH);
    }

    #[test]
    fn a_stack_is_wanted_for_these_reasons_or_for_all() {
        let mut policy = StackPolicy {
            always: 0,
            reasons: [12, 0, 0, 0],
        };
        assert!(policy.wants(12));
        assert!(!policy.wants(13) && !policy.wants(0));
        policy.always = 1;
        assert!(policy.wants(13) && policy.wants(0));
    }

    #[test]
    fn the_map_key_has_no_hidden_padding() {
        assert_eq!(size_of::<DropKey>(), size_of::<Tuple>() + 8 + 3 * 4 + 4);
    }
}
