//! A dropped packet: does it match, count it, and send what userspace needs to name the dropper.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::{bpf_get_stack, bpf_probe_read_kernel as read_kernel_bytes},
    },
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tracer_common::{
    event::{CAPTURE_LEN, DropCount, DropEvent, DropKey, STACK_DEPTH, kind, tally},
    packet::{Layer, Role, tcp, walk},
    tuple::Tuple,
};

use crate::{
    atomic, conntrack,
    maps::{DROPS, EVENTS, FILTER, LAYOUT, tally},
    place::Place,
    skb::{Packet, Skb},
};

/// Events of one key in one second. A person reads no more; all of them are counted.
const EVENTS_PER_SECOND: u64 = 10;
const SECOND: u64 = 1_000_000_000;

/// A matching drop, on its way to userspace.
struct Matched {
    skb: Skb,
    packet: Packet,
    key: DropKey,
    original: Tuple,
    place: Place,
}

/// Looks at one freed skb.
#[inline(always)]
pub(crate) fn observe(
    ctx: &BtfTracePointContext,
    skb: Skb,
    location: u64,
    reason: u32,
    rx_sk: u64,
) -> Option<()> {
    let packet = skb.packet()?;
    let mut matches = false;
    let mut flow = Layer::EMPTY;
    let readable = walk(&packet, |role, layer| {
        matches |= FILTER.matches(&layer.tuple);
        if role == Role::Travelling {
            flow = *layer;
        }
    });
    if !readable {
        tally(tally::MALFORMED);
        return None;
    }
    let original = conntrack::original_tuple(&skb).unwrap_or_default();
    if !matches && !FILTER.matches(&original) {
        return None;
    }
    let place = Place::of(&skb, rx_sk);
    if !FILTER.matches_netns(place.netns) {
        return None;
    }
    let tcp = tcp(&packet, &flow);
    let key = DropKey {
        flow: flow.tuple,
        location,
        reason,
        netns: place.netns,
        ifindex: place.ifindex,
        tcp_flags: tcp.map_or(0, |tcp| tcp.flags),
        has_payload: tcp.is_some_and(|tcp| tcp.payload > 0).into(),
        icmp_type: flow.icmp[0],
        reserved: 0,
    };
    let drop = Matched {
        skb,
        packet,
        key,
        original,
        place,
    };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let count = count(&drop.key, now)?;
    debug!(
        ctx,
        "drop: reason {} at {:x}, count {}", reason, location, count
    );
    send(ctx, &drop, now, count)
}

/// Counts the drop. Gives the new count if an event may be sent for it.
#[inline(always)]
fn count(key: &DropKey, now: u64) -> Option<u64> {
    let entry = DROPS.get_ptr_mut(key).or_else(|| {
        // Another CPU may be first; then its entry is the one to use.
        let _ = DROPS.insert(key, &DropCount::default(), BPF_NOEXIST.into());
        DROPS.get_ptr_mut(key)
    });
    let Some(entry) = entry else {
        tally(tally::UNCOUNTED);
        return None;
    };
    // SAFETY: the verifier checked the pointer; the count is only ever touched atomically. The
    // bound on events may be off by a few when CPUs race for it, which costs nothing.
    unsafe {
        atomic::increment(addr_of_mut!((*entry).count));
        if now - (*entry).window >= SECOND {
            (*entry).window = now;
            (*entry).sent = 0;
        }
        if (*entry).sent >= EVENTS_PER_SECOND {
            return None;
        }
        (*entry).sent += 1;
        Some((*entry).count)
    }
}

/// Sends the event, if the ring buffer has room.
#[inline(always)]
fn send(ctx: &BtfTracePointContext, drop: &Matched, now: u64, count: u64) -> Option<()> {
    let Some(mut entry) = EVENTS.reserve::<DropEvent>(0) else {
        tally(tally::LOST);
        return None;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: `event` points to a whole DropEvent of the ring buffer; every field is written below,
    // and the padding-free layout is checked in tracer-common.
    unsafe {
        (*event).kind = kind::DROP;
        (*event).at = now;
        (*event).key = drop.key;
        (*event).count = count;
        (*event).original = drop.original;
        (*event).stack_bytes = bpf_get_stack(
            ctx.as_ptr(),
            addr_of_mut!((*event).stack).cast(),
            (STACK_DEPTH * size_of::<u64>()) as u32,
            0,
        );
        (*event).len = drop.skb.len_from(&drop.packet);
        (*event).gso_size = drop.skb.gso_size();
        (*event).mtu = drop.place.mtu();
        (*event).mark = drop.skb.scalar(&LAYOUT.skb_mark).unwrap_or(0);
        (*event).iif = drop.skb.scalar(&LAYOUT.skb_iif).unwrap_or(0);
        (*event).pid = bpf_get_current_pid_tgid() as u32;
        (*event).comm = bpf_get_current_comm().unwrap_or([0; 16]);
        (*event).ifname = drop.place.ifname();
        (*event).netns_from = drop.place.netns_from;
        let len = drop.packet.linear.min(CAPTURE_LEN as u32);
        let failed = read_kernel_bytes(
            addr_of_mut!((*event).capture).cast(),
            len,
            drop.packet.start as *const _,
        );
        (*event).capture_len = if failed == 0 { len } else { 0 };
    }
    entry.submit(0);
    Some(())
}
