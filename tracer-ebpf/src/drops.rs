//! A dropped packet: does it match, count it, and send what userspace needs to name the dropper.

use core::ptr::addr_of_mut;

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns, generated::bpf_get_stack,
    },
    programs::BtfTracePointContext,
};
use aya_log_ebpf::debug;
use tracer_common::{
    event::{DropCount, DropEvent, DropKey, STACK_DEPTH, handshake_key, held_flow, kind, tally},
    packet::{Layer, PLAIN_V4, PLAIN_V6, Role, Tcp, plain, protocol, solicited, tcp, walk},
    tuple::Tuple,
};

use crate::{
    atomic, conntrack,
    frame::ETHERNET_LEN,
    held,
    maps::{
        DROPS, DropRoom, FILTER, LAYOUT, STACKS, asked_for, asked_for_here, drop_room,
        has_room_for, is_learned, may_begin_kind, put, tally,
    },
    place::Place,
    skb::{Packet, Skb, Start, Version},
};

/// Events of one key in one second. A person reads no more; all of them are counted.
const EVENTS_PER_KEY: u64 = 3;
const SECOND: u64 = 1_000_000_000;
/// No packet that stands for several segments is as short: headers and twice the smallest MSS.
const NEVER_GSO: u32 = 128;

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
    let first = first_look(packet.start, packet.linear, packet.version);
    if first == FirstLook::Other && !conntrack::is_translated(&skb) {
        return None;
    }
    let room = drop_room()?;
    if first != FirstLook::Matches {
        look_closely(&skb, &packet, room)?;
    }
    let place = Place::of(&skb, rx_sk);
    if !FILTER.matches_netns(place.netns) {
        return None;
    }
    let tcp = tcp(&packet, &room.flow);
    let event = &mut room.event;
    event.key = DropKey {
        flow: room.flow.tuple,
        location,
        reason,
        netns: place.netns,
        ifindex: place.ifindex,
        tcp_flags: tcp.map_or(0, |tcp| tcp.flags),
        has_payload: tcp.is_some_and(|tcp| tcp.payload > 0).into(),
        icmp_type: room.flow.icmp[0],
        reserved: 0,
    };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let count = count(&event.key, now)?;
    // One that is not counted apart may be what ended an attempt.
    let is_uncounted = count == 0;
    if !has_room_for(&event.key.flow, now, is_uncounted) {
        if !is_uncounted {
            tally(tally::LOST);
        }
        return None;
    }
    debug!(
        ctx,
        "drop: reason {} at {:x}, count {}", reason, location, count
    );
    if first == FirstLook::Matches {
        conntrack::original_tuple(&skb, &mut event.original);
    }
    event.kind = kind::DROP;
    event.at = now;
    event.count = count;
    event.stack_bytes = if STACKS.wants(reason) {
        // SAFETY: the stack has room for as many bytes.
        unsafe {
            bpf_get_stack(
                ctx.as_ptr(),
                event.stack.as_mut_ptr().cast(),
                (STACK_DEPTH * size_of::<u64>()) as u32,
                0,
            )
        }
    } else {
        0
    };
    describe(event, &skb, &packet, &place);
    room.numbers = tcp.map_or([0; 2], |tcp| [tcp.seq, tcp.ack]);
    deliver();
    Some(())
}

/// Sends what is in this CPU's room.
///
/// A function of its own, which takes all it needs from there: what is loaded from a map has no history for
/// the verifier, which would follow each way to here to the end otherwise.
#[inline(never)]
fn deliver() {
    let Some(room) = drop_room() else {
        return;
    };
    let event = &room.event;
    if event.key.flow.proto == protocol::TCP {
        release(&event.key, room.numbers, event.at);
    }
    put(event, event.sent_len(), event.at);
}

/// What is known of the packet's handshake comes before its drop.
#[inline(always)]
fn release(key: &DropKey, [seq, ack]: [u32; 2], now: u64) {
    let has = |flag: u8| key.tcp_flags & flag != 0;
    let opened = match (has(Tcp::SYN), has(Tcp::ACK)) {
        (true, false) => seq,
        (true, true) => ack.wrapping_sub(1),
        // Its flow may be another one here, behind NAT.
        (false, _) => {
            held::release_flow(held_flow(&key.flow), now);
            seq.wrapping_sub(1)
        }
    };
    held::release_key(handshake_key(protocol::TCP, opened), now);
}

/// What a first look at a dropped packet comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum FirstLook {
    /// A plain packet of another flow; unless NAT has changed it.
    Other,
    /// A plain packet that matches; it is in the room of this CPU.
    Matches,
    /// The whole parser must look.
    Unclear,
}

/// Reads a plain packet with one helper call.
///
/// A function of its own, so that its share of the stack is free again when the parser needs it.
#[inline(never)]
fn first_look(start: u64, linear: u32, version: Version) -> FirstLook {
    match version {
        Version::V4 => first_bytes::<PLAIN_V4>(start, linear),
        Version::V6 => first_bytes::<PLAIN_V6>(start, linear),
    }
}

#[inline(always)]
fn first_bytes<const LEN: usize>(start: u64, linear: u32) -> FirstLook {
    if linear < LEN as u32 {
        return FirstLook::Unclear;
    }
    let Some(layer) = Start::<LEN>::read(start).and_then(|start| plain(&start)) else {
        return FirstLook::Unclear;
    };
    if !asked_for_here(&layer.tuple) && !is_learned(&layer.tuple) {
        return FirstLook::Other;
    }
    let Some(room) = drop_room() else {
        return FirstLook::Unclear;
    };
    room.flow = layer;
    FirstLook::Matches
}

/// Follows all layers of a packet, and the connection before NAT. `None` if nothing matches.
#[inline(always)]
fn look_closely(skb: &Skb, packet: &Packet, room: &mut DropRoom) -> Option<()> {
    let mut matches = false;
    let readable = walk(packet, &mut room.layer, |role, layer| {
        matches |= asked_for(&layer.tuple) || is_learned(&layer.tuple);
        if role == Role::Travelling {
            room.flow = *layer;
        }
    });
    if !readable {
        tally(tally::MALFORMED);
        return None;
    }
    conntrack::original_tuple(skb, &mut room.event.original);
    let matches = matches || asked_for(&room.event.original);
    (matches || is_question(packet, &room.flow)).then_some(())
}

/// Whether the packet asks, or answers, where a neighbor is that the filter looks at: packets wait
/// for it.
///
/// A function of its own, for its share of the stack.
#[inline(never)]
fn is_question(packet: &Packet, flow: &Layer) -> bool {
    solicited(packet, flow).is_some_and(|tuple| {
        asked_for_here(&Tuple {
            proto: FILTER.protocol(),
            ..tuple
        })
    })
}

/// Counts the drop. Returns the new count if an event may be sent for it; 0 where the map has no room for
/// its kind, so that it is known in number only.
#[inline(always)]
fn count(key: &DropKey, now: u64) -> Option<u64> {
    let entry = DROPS.get_ptr_mut(key).or_else(|| {
        if !may_begin_kind(&key.flow, now) {
            return None;
        }
        // Another CPU may be first; then its entry is the one to use.
        let _ = DROPS.insert(key, &DropCount::default(), BPF_NOEXIST.into());
        DROPS.get_ptr_mut(key)
    });
    let Some(entry) = entry else {
        tally(tally::UNCOUNTED);
        return Some(0);
    };
    // SAFETY: the verifier checked the pointer; the count is only ever touched atomically. The
    // bound on events may be off by a few when CPUs race for it, which costs nothing.
    unsafe {
        atomic::increment(addr_of_mut!((*entry).count));
        if now - (*entry).window >= SECOND {
            (*entry).window = now;
            (*entry).sent = 0;
        }
        if (*entry).sent >= EVENTS_PER_KEY {
            return None;
        }
        (*entry).sent += 1;
        Some((*entry).count)
    }
}

/// Writes what the skb and its place say.
#[inline(always)]
fn describe(event: &mut DropEvent, skb: &Skb, packet: &Packet, place: &Place) {
    event.len = skb.len_from(packet);
    event.gso_size = if event.len > NEVER_GSO {
        skb.gso_size()
    } else {
        0
    };
    event.mtu = place.mtu(skb);
    event.mark = skb.scalar(&LAYOUT.skb_mark).unwrap_or(0);
    event.iif = skb.scalar(&LAYOUT.skb_iif).unwrap_or(0);
    event.pid = bpf_get_current_pid_tgid() as u32;
    event.comm = bpf_get_current_comm().unwrap_or([0; 16]);
    event.ifname = place.ifname(skb);
    event.netns_from = place.netns_from;
    event.ct = conntrack::state(skb);
    conntrack::reply_tuple(skb, &mut event.reply);
    event.oif = Place::route(skb);
    event.reserved = [0; 2];
    capture(event, skb, packet);
}

/// Copies the packet's first bytes, and what stands in front of them: nearly always an Ethernet header,
/// so that one copy is enough.
#[inline(always)]
fn capture(event: &mut DropEvent, skb: &Skb, packet: &Packet) {
    let has_frame = skb.mac_header() == Some(packet.start - u64::from(ETHERNET_LEN));
    if has_frame && let Some(len) = packet.capture_frame(event) {
        event.capture_len = len;
        return;
    }
    [event.dst_mac, event.src_mac] = skb.mac_addresses(packet);
    event.capture_len = packet.capture(&mut event.capture);
}
