//! Handshakes that stay here until they fail: see [`tracer_common::event::HeldLog`].
//!
//! A place belongs to one key until its handshake has settled, or userspace has taken it. The packets of
//! one handshake cause each other, so no two CPUs write to a log at a time.

use core::mem::offset_of;

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel as read_kernel_bytes, macros::map, maps::Array,
};
use tracer_common::{
    event::{
        EarlyEvent, EarlyHops, HELD_BYTES, HELD_FLOWS, HELD_PLACES, Handshake, Held, HeldLog,
        ReleaseEvent, SETTLED_SEGMENTS, Sighted, SightingEvent, held_place, held_state as state,
        kind, tally,
    },
    share::Share,
};

use crate::maps::{EARLY, follow, mark, tally, try_put, unmark};

/// How many handshakes a second are released when they have settled; all others are counted. Read with
/// volatile loads only: the loader replaces it.
#[unsafe(no_mangle)]
pub(crate) static ANSWERED_RATE: u64 = u64::MAX;

/// How many places there are: a power of two. Likewise.
#[unsafe(no_mangle)]
pub(crate) static PLACES: u32 = HELD_PLACES as u32;

/// What [`ANSWERED_RATE`] leaves of this second.
#[map]
static ANSWERED: Array<Share> = Array::with_max_entries(1, 0);

/// The state of each place, by [`held_place`]. Userspace reads all of them at once.
#[map]
static HELD: Array<[Held; HELD_PLACES]> = Array::with_max_entries(1, 0);

/// The events of each.
#[map]
static HELD_LOGS: Array<HeldLog> = Array::with_max_entries(HELD_PLACES as u32, 0);

/// The key that userspace has taken from each place: it has read the log, and what comes later is
/// followed by [`follow`].
#[map]
static HELD_TAKEN: Array<u64> = Array::with_max_entries(HELD_PLACES as u32, 0);

/// The place of each flow's handshake, plus one, by [`held_flow`]. Flows share entries: a flow may lead
/// to another one's handshake, which then costs as much as if it had never been held.
#[map]
static HELD_BY_FLOW: Array<[u16; HELD_FLOWS]> = Array::with_max_entries(1, 0);

/// What a packet is to its handshake.
pub(crate) mod role {
    /// The SYN.
    pub(crate) const OPENS: u32 = 1;
    /// The SYN-ACK.
    pub(crate) const ANSWERS: u32 = 2;
    /// The last ACK, or what follows.
    pub(crate) const SETTLES: u32 = 3;
    /// A RST, or an ICMP error.
    pub(crate) const ENDS: u32 = 4;
}

#[inline(always)]
fn place_of(key: u64) -> usize {
    // SAFETY: a static may be read.
    held_place(key, unsafe { core::ptr::read_volatile(&raw const PLACES) })
}

#[inline(always)]
fn held(place: usize) -> Option<*mut Held> {
    let all: *mut Held = HELD.get_ptr_mut(0)?.cast();
    // SAFETY: within the array, as the mask says to the verifier.
    Some(unsafe { all.add(place & (HELD_PLACES - 1)) })
}

#[inline(always)]
fn is_taken(place: usize, key: u64) -> bool {
    // SAFETY: one word, which is read at once.
    HELD_TAKEN
        .get_ptr(place as u32)
        .is_none_or(|taken| unsafe { taken.read_volatile() } == key)
}

/// Whether the handshake with this key may be held: userspace may have taken it.
#[inline(always)]
pub(crate) fn may_be_held(key: u64) -> bool {
    match held(place_of(key)) {
        // SAFETY: the verifier checked the pointer.
        Some(held) => unsafe { (*held).key == key && is_kept((*held).state) },
        None => false,
    }
}

/// Whether the handshake with this key is held.
#[inline(always)]
pub(crate) fn is_held(key: u64) -> bool {
    may_be_held(key) && !is_taken(place_of(key), key)
}

/// Whether a place in this state holds a handshake.
#[inline(always)]
fn is_kept(of: u32) -> bool {
    of == state::OPEN || of == state::SETTLED
}

/// Whether a segment with the sequence number behind this handshake's SYN must be looked at: it settles
/// the handshake, or is one too many.
#[inline(always)]
pub(crate) fn wants_segment(key: u64) -> bool {
    let Some(held) = held(place_of(key)) else {
        return false;
    };
    // SAFETY: the verifier checked the pointer. A lost race counts one segment less.
    unsafe {
        if (*held).key != key {
            return false;
        }
        match (*held).state {
            state::OPEN => true,
            state::SETTLED => {
                (*held).segments += 1;
                (*held).segments > SETTLED_SEGMENTS
            }
            _ => false,
        }
    }
}

/// Whether userspace is to have a handshake that has settled.
#[inline(always)]
fn is_shown(now: u64) -> bool {
    // SAFETY: a static may be read.
    let rate = unsafe { core::ptr::read_volatile(&raw const ANSWERED_RATE) };
    match ANSWERED.get_ptr_mut(0) {
        // SAFETY: the verifier checked the pointer. CPUs that race for it show a few more.
        Some(answered) => unsafe { (*answered).take(now, rate) },
        None => false,
    }
}

/// Begins to hold a handshake whose SYN is seen for the first time, if its place is free.
///
/// A function of its own, for its share of the stack.
#[inline(never)]
pub(crate) fn begin(key: u64, flow: u32, event: &SightingEvent) -> bool {
    let (at, now) = (&event.place, event.at);
    let place = place_of(key);
    let (Some(held), Some(log)) = (held(place), HELD_LOGS.get_ptr_mut(place as u32)) else {
        return false;
    };
    // SAFETY: the verifier checked the pointers.
    unsafe {
        let is_free = match (*held).state {
            state::FREE | state::SETTLED => true,
            _ => is_taken(place, (*held).key),
        };
        if !is_free || is_taken(place, key) {
            return false;
        }
        if (*held).state != state::FREE {
            unmark((*held).key);
        }
        mark(key);
        (*held).key = key;
        (*held).since = now;
        (*held).segments = 0;
        (*held).state = state::OPEN;
        (*log).key = key;
        (*log).len = 0;
        (*log).netns = at.netns;
        (*log).ifindex = at.ifindex;
        (*log).direction = at.direction;
        (*log).flow = flow;
        (*log).is_answered = 0;
        (*log).was_settled = 0;
        keep_early(log, key);
    }
    tally(tally::HELD);
    true
}

/// Puts the hops from before the SYN matched in front of it: their own place may soon be another one's.
///
/// # Safety
///
/// The log is empty.
#[inline(always)]
unsafe fn keep_early(log: *mut HeldLog, key: u64) {
    let Some(early) = EARLY.get_ptr(EarlyHops::place(key)) else {
        return;
    };
    // SAFETY: the verifier checks the pointers; there is room for the hops.
    unsafe {
        if (*early).hops[0].key != key {
            return;
        }
        let event: *mut EarlyEvent = (&raw mut (*log).bytes).cast();
        (*event).kind = kind::EARLY;
        (*event).key = key;
        let failed = read_kernel_bytes(
            (&raw mut (*event).hops).cast(),
            size_of::<EarlyHops>() as u32,
            early.cast(),
        );
        if failed == 0 {
            (*log).len = size_of::<EarlyEvent>() as u32;
        }
    }
}

/// Keeps the event of a packet of a handshake that is held. `false` if it is to be sent: the handshake
/// is not held, or not any more.
///
/// A function of its own, for its share of the stack.
#[inline(never)]
pub(crate) fn keep(key: u64, event: &SightingEvent, flow: u32, role: u32) -> bool {
    let place = place_of(key);
    let (Some(held), Some(log)) = (held(place), HELD_LOGS.get_ptr_mut(place as u32)) else {
        return false;
    };
    // SAFETY: the verifier checked the pointers.
    unsafe {
        if (*held).key != key || is_taken(place, key) {
            return false;
        }
        if !is_kept((*held).state) {
            return false;
        }
        let is_open = (*held).state == state::OPEN;
        let is_kept = is_open && role != role::ENDS && append(log, event);
        let mut is_wanted = !is_kept;
        if is_kept && role == role::OPENS {
            lead_to(place, flow);
        } else if is_kept && (*log).flow == flow {
            if role == role::ANSWERS {
                (*log).is_answered = 1;
            } else if (*log).is_answered != 0 && is_at_first(log, &event.place) {
                is_wanted = is_shown(event.at);
                if !is_wanted {
                    (*held).state = state::SETTLED;
                    tally(tally::ANSWERED);
                }
            }
        }
        if is_wanted {
            release(held, log, event.at);
        }
        is_kept
    }
}

/// # Safety
///
/// The log can be read.
#[inline(always)]
unsafe fn is_at_first(log: *const HeldLog, at: &Sighted) -> bool {
    // SAFETY: as required of the caller.
    unsafe {
        (*log).ifindex == at.ifindex && (*log).netns == at.netns && (*log).direction == at.direction
    }
}

/// # Safety
///
/// The log can be written to.
#[inline(always)]
unsafe fn append(log: *mut HeldLog, event: &SightingEvent) -> bool {
    const MOST: usize = size_of::<SightingEvent>();
    // SAFETY: as required of the caller; the verifier checks the bounds again.
    unsafe {
        let at = (*log).len as usize;
        if at > HELD_BYTES - MOST {
            return false;
        }
        let len = event.sent_len();
        let to = log.cast::<u8>().add(offset_of!(HeldLog, bytes)).add(at);
        let failed = read_kernel_bytes(to.cast(), len as u32, core::ptr::from_ref(event).cast());
        (*log).len = (at + len.next_multiple_of(8)) as u32;
        failed == 0
    }
}

#[inline(always)]
fn lead_to(place: usize, flow: u32) {
    if let Some(flows) = HELD_BY_FLOW.get_ptr_mut(0) {
        let flows: *mut u16 = flows.cast();
        // SAFETY: within the array, as the mask says to the verifier.
        unsafe {
            flows
                .add(flow as usize & (HELD_FLOWS - 1))
                .write_volatile(place as u16 + 1);
        }
    }
}

/// Has userspace read the log. What comes later is sent at once.
///
/// # Safety
///
/// Both are of one place, which is open or settled.
#[inline(always)]
unsafe fn release(held: *mut Held, log: *mut HeldLog, now: u64) {
    // SAFETY: as required of the caller.
    let key = unsafe {
        (*log).was_settled = ((*held).state == state::SETTLED).into();
        (*held).state = state::RELEASED;
        (*held).key
    };
    follow(key, &Handshake::default());
    let event = ReleaseEvent {
        kind: kind::RELEASE,
        at: now,
        key,
    };
    // Where there is no room for it, userspace finds the log when it looks for what is overdue.
    try_put(&event, size_of::<ReleaseEvent>(), now);
}

/// Releases the handshake with this key, if it is held: something has happened to it.
#[inline(always)]
pub(crate) fn release_key(key: u64, now: u64) {
    release_place(place_of(key), key, now);
}

/// The same for the handshake of a flow, as [`held_flow`](tracer_common::event::held_flow) has it, whichever
/// way that goes.
#[inline(always)]
pub(crate) fn release_flow(flow: u32, now: u64) {
    let Some(flows) = HELD_BY_FLOW.get_ptr(0) else {
        return;
    };
    let flows: *const u16 = flows.cast();
    // SAFETY: within the array, as the mask says to the verifier.
    let place = unsafe { flows.add(flow as usize & (HELD_FLOWS - 1)).read_volatile() };
    if place != 0 {
        release_place(usize::from(place) - 1, ANY_KEY, now);
    }
}

/// No handshake has this key.
const ANY_KEY: u64 = u64::MAX;

/// A function of its own, for its share of the stack.
#[inline(never)]
fn release_place(place: usize, key: u64, now: u64) {
    let (Some(held), Some(log)) = (held(place), HELD_LOGS.get_ptr_mut(place as u32)) else {
        return;
    };
    // SAFETY: the verifier checked the pointers.
    unsafe {
        let is_another = key != ANY_KEY && (*held).key != key;
        if is_another || !is_kept((*held).state) || is_taken(place, (*held).key) {
            return;
        }
        release(held, log, now);
    }
}
