//! What the programs share with the loader: `.rodata`, counters, and the way to userspace.

use aya_ebpf::{
    bindings::{BPF_NOEXIST, BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use tracer_common::{
    event::{
        DropCount, DropEvent, DropKey, EARLY_PLACES, EarlyHops, Handshake, SightingEvent,
        StackPolicy, tally,
    },
    filter::{Filter, Member, Side, Watched, kind},
    layout::Layout,
    packet::Layer,
    share::{self, Share},
    tuple::Tuple,
};

use crate::{
    atomic,
    sightings::Part,
    skb::{Packet, SkbCopy},
    wake,
};

/// Where the kernel keeps its fields. Read with volatile loads only: the loader replaces it.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Layout = Layout::UNRESOLVED;

/// Which connection is looked at. Read with volatile loads only: the loader replaces it.
#[unsafe(no_mangle)]
pub(crate) static FILTER: Filter = {
    const ANY: Side = Side {
        address: tracer_common::address::Address::UNSPECIFIED,
        mask: tracer_common::address::Address::UNSPECIFIED,
        kind: kind::ANY,
        port: 0,
    };
    Filter {
        to: ANY,
        from: ANY,
        proto: 0,
        netns_len: 0,
        netns: [0; _],
    }
};

/// What belongs to the ends that go by name. The loader sets the size, and keeps it current.
#[map]
static MEMBERS: HashMap<Member, u32> = HashMap::with_max_entries(1, 0);

/// Whether the tuple is one of the connection's.
#[inline(always)]
pub(crate) fn asked_for(tuple: &Tuple) -> bool {
    // SAFETY: a value is one word, which is read at once and not kept.
    FILTER.matches(tuple, |member| unsafe { MEMBERS.get(member).copied() })
}

/// The same, inlined: for the first look at a packet, which has the stack to itself.
#[inline(always)]
pub(crate) fn asked_for_here(tuple: &Tuple) -> bool {
    // SAFETY: as above.
    FILTER.matches_here(tuple, |member| unsafe { MEMBERS.get(member).copied() })
}

/// Where packets are looked at by tracepoints. Read with volatile loads only: the loader replaces it.
#[unsafe(no_mangle)]
pub(crate) static WATCHED: Watched = Watched::NOTHING;

/// Which drops carry the kernel stack. Read with volatile loads only: the loader replaces it.
#[unsafe(no_mangle)]
pub(crate) static STACKS: StackPolicy = StackPolicy {
    always: 1,
    reasons: [0; _],
};

/// Events for userspace. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// The exact count of every matching drop. The loader sets the size.
#[map]
pub(crate) static DROPS: HashMap<DropKey, DropCount> = HashMap::with_max_entries(1024, 0);

/// Handshakes and DNS queries that match the filter, by [`tracer_common::event::handshake_key`].
/// NAT may hide their later packets from the filter; here they are found all the same. The loader sets
/// the size.
#[map]
pub(crate) static HANDSHAKES: LruHashMap<u64, Handshake> = LruHashMap::with_max_entries(16384, 0);

/// How many marks there are for handshakes that are followed; a power of two.
const MARKS: usize = 1 << 16;

/// How many handshakes are in [`HANDSHAKES`] or held, at a place that their ISN says. Where there are none,
/// a segment is of none of them: that is known by one load. The mark of a handshake in the hash map stays
/// when that goes; others then pay for the look.
#[map]
static FOLLOWED: Array<[u8; MARKS]> = Array::with_max_entries(1, 0);

/// The mark of an ISN. Fibonacci hashing: the numbers of some senders follow each other.
#[inline(always)]
fn mark_of(isn: u32) -> Option<*mut u8> {
    let place = isn.wrapping_mul(0x9e37_79b9) >> (u32::BITS - MARKS.trailing_zeros());
    let marks: *mut u8 = FOLLOWED.get_ptr_mut(0)?.cast();
    // SAFETY: the place is within the array, as the shift says to the verifier.
    Some(unsafe { marks.add(place as usize) })
}

/// Whether a SYN with this sequence number may be in [`HANDSHAKES`], or held.
#[inline(always)]
pub(crate) fn may_be_followed(isn: u32) -> bool {
    // SAFETY: the verifier checked the pointer.
    mark_of(isn).is_none_or(|mark| unsafe { mark.read_volatile() } != 0)
}

/// Marks a handshake. Of two CPUs that race for a mark, one may be forgotten, which takes them to do so
/// within nanoseconds.
#[inline(always)]
pub(crate) fn mark(key: u64) {
    if let Some(mark) = mark_of(key as u32) {
        // SAFETY: the verifier checked the pointer.
        unsafe { mark.write_volatile(mark.read_volatile().saturating_add(1)) };
    }
}

/// Takes the mark of a handshake away. One that has come to its limit stays.
#[inline(always)]
pub(crate) fn unmark(key: u64) {
    if let Some(mark) = mark_of(key as u32) {
        // SAFETY: the verifier checked the pointer.
        unsafe {
            let count = mark.read_volatile();
            if count != 0 && count != u8::MAX {
                mark.write_volatile(count - 1);
            }
        }
    }
}

/// Follows a handshake from now on, unless it is followed already.
#[inline(always)]
pub(crate) fn follow(key: u64, handshake: &Handshake) {
    mark(key);
    // Another CPU may be first; then its entry is the one to use.
    let _ = HANDSHAKES.insert(key, handshake, BPF_NOEXIST.into());
}

/// Sightings of SYNs and queries before they matched the filter, by [`EarlyHops::place`]. No hash
/// map: every SYN that does not match comes here, and making an entry would cost more than all else
/// that is done for it.
#[map]
pub(crate) static EARLY: Array<EarlyHops> = Array::with_max_entries(EARLY_PLACES, 0);

/// Tuples of handshakes that match the filter at other hops: in front of NAT, or behind it. Each is
/// here in both directions, so that one look finds it. The loader sets the size.
#[map]
static LEARNED: LruHashMap<Tuple, u32> = LruHashMap::with_max_entries(16384, 0);

/// Whether there is any. The verifier turns the look into a load: while nothing was learned, that is
/// all that other people's drops pay.
#[map]
static HAS_LEARNED: Array<u32> = Array::with_max_entries(1, 0);

/// Whether the tuple is one of a connection that matches the filter at another hop.
#[inline(always)]
pub(crate) fn is_learned(tuple: &Tuple) -> bool {
    let has_any = HAS_LEARNED.get(0).is_some_and(|any| *any != 0);
    has_any && LEARNED.get_ptr(tuple).is_some()
}

/// Keeps the tuple of a handshake that matches the filter at another hop.
///
/// A function of its own, for its share of the stack.
#[inline(never)]
pub(crate) fn learn(tuple: &Tuple) {
    // The least recently used ones make room: there is always one.
    let _ = LEARNED.insert(tuple, &1, 0);
    let _ = LEARNED.insert(&tuple.reversed(), &1, 0);
    if let Some(any) = HAS_LEARNED.get_ptr_mut(0) {
        // SAFETY: the verifier checked the pointer; all write the same.
        unsafe { *any = 1 };
    }
}

/// Whether packets are seen at the tracepoints that those of all interfaces pass. One word decides, so
/// that no packet is seen twice while the classifiers are still there, and none is missed.
#[map]
static EVERYWHERE: Array<u32> = Array::with_max_entries(1, 0);

/// Whether the tracepoints look, and not the classifiers.
#[inline(always)]
pub(crate) fn is_everywhere() -> bool {
    EVERYWHERE.get(0).is_some_and(|word| *word != 0)
}

/// Room to work in, one for each group of programs: the stack has 512 bytes. A program is not run
/// again on a CPU where it is running already, so nothing else writes there meanwhile.
#[map]
static DROP_ROOM: PerCpuArray<DropRoom> = PerCpuArray::with_max_entries(1, 0);
/// See [`DROP_ROOM`].
#[map]
static SIGHTING_ROOM: PerCpuArray<SightingRoom> = PerCpuArray::with_max_entries(1, 0);

/// What is known of a dropped packet so far.
#[repr(C)]
pub(crate) struct DropRoom {
    pub(crate) layer: Layer,
    pub(crate) flow: Layer,
    /// TCP's sequence and acknowledgement number.
    pub(crate) numbers: [u32; 2],
    pub(crate) event: DropEvent,
}

/// What is known of a sighted packet so far.
#[repr(C)]
pub(crate) struct SightingRoom {
    pub(crate) skb: SkbCopy,
    pub(crate) layer: Layer,
    pub(crate) flow: Layer,
    pub(crate) packet: Packet,
    pub(crate) part: Part,
    pub(crate) event: SightingEvent,
}

/// The room of the drop programs on this CPU.
#[inline(always)]
pub(crate) fn drop_room() -> Option<&'static mut DropRoom> {
    // SAFETY: see `DROP_ROOM`.
    DROP_ROOM.get_ptr_mut(0).map(|room| unsafe { &mut *room })
}

/// The room of the tc programs on this CPU.
#[inline(always)]
pub(crate) fn sighting_room() -> Option<&'static mut SightingRoom> {
    // SAFETY: see `DROP_ROOM`; tc programs run with softirqs off.
    SIGHTING_ROOM
        .get_ptr_mut(0)
        .map(|room| unsafe { &mut *room })
}

/// What each share of the flows has taken of what is scarce, by [`Share::of`].
#[map]
static SHARES: Array<Share> = Array::with_max_entries(share::SHARES, 0);

/// Whether the share of this flow still has one of `most` events in this second left.
#[inline(always)]
fn has_share(flow: &Tuple, now: u64, most: u64) -> bool {
    let Some(share) = SHARES.get_ptr_mut(Share::of(flow)) else {
        return false;
    };
    // SAFETY: the verifier checked the pointer. CPUs that race for it send a few more.
    unsafe { (*share).take(now, most) }
}

/// What each share of the flows has taken of the places in [`DROPS`], likewise.
#[map]
static KIND_SHARES: Array<Share> = Array::with_max_entries(share::SHARES, 0);

/// Whether [`DROPS`] has little room left; userspace says it.
#[map]
static CROWDED: Array<u32> = Array::with_max_entries(1, 0);

/// Whether a drop of this flow may begin a kind. A flood of unlike flows must not take all places.
#[inline(always)]
pub(crate) fn may_begin_kind(flow: &Tuple, now: u64) -> bool {
    if CROWDED.get(0).is_none_or(|crowded| *crowded == 0) {
        return true;
    }
    let Some(share) = KIND_SHARES.get_ptr_mut(Share::of(flow)) else {
        return false;
    };
    // SAFETY: the verifier checked the pointer. CPUs that race for it begin a few more.
    unsafe { (*share).take(now, share::KINDS_PER_SHARE) }
}

/// Whether an event about this flow may be sent by the room that there is: of a ring buffer that is more
/// than half full, each share gets its part only; and only that of what is `scarce` anyway. Takes from
/// the share, so it is asked once for each event.
#[inline(always)]
pub(crate) fn has_room_for(flow: &Tuple, now: u64, scarce: bool) -> bool {
    let [used, size] = [BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE].map(|what| EVENTS.query(what.into()));
    if used <= size / 2 && !scarce {
        return true;
    }
    let most = if used <= size / 4 * 3 {
        share::EVENTS_PER_SHARE
    } else if used <= size / 16 * 15 {
        share::FEW_EVENTS_PER_SHARE
    } else {
        share::LAST_EVENTS_PER_SHARE
    };
    has_share(flow, now, most)
}

/// Sends the first `len` bytes of an event about `flow`; counts it where there is no room for it.
#[inline(always)]
pub(crate) fn send<T>(event: &T, len: usize, flow: &Tuple, now: u64) {
    if has_room_for(flow, now, false) {
        put(event, len, now);
    } else {
        tally(tally::LOST);
    }
}

/// Sends the first `len` bytes of an event that has room by [`has_room_for`].
///
/// It is made in a room of this CPU and copied. Made in the ring buffer itself, it would take as many
/// bytes as any event of its kind may have: most of them unused, and each cache line of the ring
/// buffer was last in the reader's cache.
#[inline(always)]
pub(crate) fn put<T>(event: &T, len: usize, now: u64) {
    if !try_put(event, len, now) {
        tally(tally::LOST);
    }
}

/// The same, of an event that is no loss. Returns whether there was room.
#[inline(always)]
pub(crate) fn try_put<T>(event: &T, len: usize, now: u64) -> bool {
    // SAFETY: no caller gives more bytes than the event has, and the verifier checks it.
    let bytes =
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(event).cast::<u8>(), len) };
    wake::output(bytes, now)
}

/// Counters of [`tally`].
#[map]
static TALLIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(tally::LEN, 0);

/// Adds one to a counter of [`tally`]. Atomically: a program that counts a drop of a process may be
/// interrupted by one that looks at a packet.
#[inline(always)]
pub(crate) fn tally(index: u32) {
    if let Some(counter) = TALLIES.get_ptr_mut(index) {
        // SAFETY: the pointer is this CPU's own slot, which the verifier checked.
        unsafe { atomic::increment(counter) };
    }
}
