//! The first look at a packet at an interface, where nearly all of them leave.

use aya_ebpf::bindings::__sk_buff;
use tracer_common::{
    event::handshake_key,
    packet::{
        Bytes, Ends, Glance, glance, glance_v4, glance_v6, protocol, segment_ends_v4,
        segment_ends_v6,
    },
};

use crate::{
    conntrack, early,
    frame::{ETHERNET_LEN, Frame},
    held,
    maps::{FILTER, HANDSHAKES, asked_for_here, is_everywhere, is_learned, may_be_followed},
    skb::{Packet, Skb, Start},
};

const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;
/// Bytes up to TCP's flags and beyond: Ethernet, IPv4 or IPv6, TCP.
const V4_KNOWN: usize = 14 + 20 + 20;
const V6_KNOWN: usize = 14 + 40 + 14;
/// The same inside the longest of plain tunnels: IPv6, UDP, VXLAN, Ethernet. No offset that may be
/// looked at is beyond this, so that the bounds need no other check: of one, the compiler makes
/// comparisons that the verifier does not see through.
const TUNNEL_KNOWN: usize = 14 + 40 + 8 + 8 + 14 + 40 + 14;
/// Where the number of what IP carries is.
const V4_PROTOCOL: u32 = ETHERNET_LEN + 9;
const V6_PROTOCOL: u32 = ETHERNET_LEN + 6;
/// Sightings behind the SYN-ACK that are sent: the last ACK and the first data, at a few hops each.
/// A client that only listens acknowledges with the same sequence number for ever.
const SETTLING_SIGHTINGS: u64 = 16;

/// The first look, by one helper call. It is enough for all but tunnels.
#[inline(never)]
pub(crate) fn first_bytes(skb: &Skb, start: u64, linear: u32, direction: u32) -> FirstLook {
    /// IPv4 and TCP, or IPv6 and TCP's flags.
    const LENGTHS: [usize; 3] = [54, 40, 28];
    if linear >= LENGTHS[0] as u32 {
        first_of::<{ LENGTHS[0] }>(skb, start, direction)
    } else if linear >= LENGTHS[1] as u32 {
        first_of::<{ LENGTHS[1] }>(skb, start, direction)
    } else if linear >= LENGTHS[2] as u32 {
        first_of::<{ LENGTHS[2] }>(skb, start, direction)
    } else {
        FirstLook::Look
    }
}

/// Of so many bytes. Where such looks share their end, the verifier of Linux 6.1 loses track of what
/// each has found.
#[inline(always)]
fn first_of<const LEN: usize>(skb: &Skb, start: u64, direction: u32) -> FirstLook {
    match Start::<LEN>::read(start) {
        Some(start) => with_filter(glance(&start, 0), skb, direction),
        None => FirstLook::Look,
    }
}

/// The first look, by a helper call for each load.
#[inline(never)]
pub(crate) fn look_inside(skb: &Skb, packet: &Packet, direction: u32) -> FirstLook {
    with_filter(glance(packet, 0), skb, direction)
}

/// What [`glance`] comes to with the filter.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum FirstLook {
    /// No part of a handshake that matches.
    Nothing,
    /// It may be one.
    Look,
    /// It settles one.
    Settles,
    /// More of the packet must be looked at.
    Unclear,
}

/// Calls no helper, unless the packet's flow matches or an end of the filter goes by name.
///
/// A function of its own, so that its share of the stack is free again when the parser needs it.
#[inline(never)]
pub(crate) fn first_look(context: *mut __sk_buff, direction: u32) -> FirstLook {
    // SAFETY: the verifier checks the context's fields.
    let (protocol, start, end) =
        unsafe { ((*context).protocol, (*context).data, (*context).data_end) };
    if protocol != IPV4 && protocol != IPV6 {
        return FirstLook::Nothing;
    }
    let frame = Frame {
        start: start as usize,
        end: end as usize,
    };
    let skb = Skb::behind(context.cast());
    // On a device without MAC header other bytes stand at its end.
    if protocol == IPV4 {
        let Some(known) = frame.known::<V4_KNOWN>(protocol as u16) else {
            return FirstLook::Unclear;
        };
        if segment_ends_v4(&known, ETHERNET_LEN).is_some_and(|ends| is_idle(&ends)) {
            return FirstLook::Nothing;
        }
        unless_tunnel(
            with_filter(glance_v4(&known, ETHERNET_LEN), &skb, direction),
            &known,
            V4_PROTOCOL,
        )
    } else {
        let Some(known) = frame.known::<V6_KNOWN>(protocol as u16) else {
            return FirstLook::Unclear;
        };
        if segment_ends_v6(&known, ETHERNET_LEN).is_some_and(|ends| is_idle(&ends)) {
            return FirstLook::Nothing;
        }
        unless_tunnel(
            with_filter(glance_v6(&known, ETHERNET_LEN), &skb, direction),
            &known,
            V6_PROTOCOL,
        )
    }
}

/// Of a TCP segment the first look says all; anything else may be a tunnel, which it does not look
/// into.
#[inline(always)]
fn unless_tunnel<B: Bytes>(first: FirstLook, bytes: &B, protocol_at: u32) -> FirstLook {
    match bytes.load::<[u8; 4]>(protocol_at) {
        Some([protocol::TCP, ..]) => first,
        _ if first == FirstLook::Look => FirstLook::Unclear,
        _ => first,
    }
}

/// Looks into the plainest of tunnels.
#[inline(never)]
pub(crate) fn second_look(context: *mut __sk_buff, direction: u32) -> FirstLook {
    // SAFETY: the verifier checks the context's fields.
    let (protocol, start, end) =
        unsafe { ((*context).protocol, (*context).data, (*context).data_end) };
    let frame = Frame {
        start: start as usize,
        end: end as usize,
    };
    match frame.known::<TUNNEL_KNOWN>(protocol as u16) {
        Some(known) => {
            let skb = Skb::behind(context.cast());
            with_filter(glance(&known, ETHERNET_LEN), &skb, direction)
        }
        None => FirstLook::Unclear,
    }
}

/// Whether a segment settles no handshake that matches, for certain. Nearly all segments are of other
/// connections, and nearly all others are behind the handshake.
#[inline(always)]
fn is_idle(ends: &Ends) -> bool {
    let isn = ends.seq.wrapping_sub(1);
    FILTER.excludes(ends) || !may_be_followed(isn)
}

#[inline(always)]
fn with_filter(glance: Glance, skb: &Skb, direction: u32) -> FirstLook {
    match glance {
        Glance::Nothing => FirstLook::Nothing,
        Glance::Look => FirstLook::Look,
        Glance::Datagram { tuple } => {
            if FILTER.may_be_of_dns() && (is_learned(&tuple) || conntrack::was_for_dns(skb)) {
                FirstLook::Look
            } else {
                FirstLook::Nothing
            }
        }
        Glance::Opens { tuple, isn } => {
            if asked_for_here(&tuple) || is_followed(isn) || conntrack::is_translated(skb) {
                return FirstLook::Look;
            }
            if FILTER.may_match_behind_nat(&tuple) && is_active(skb) {
                early::remember(handshake_key(protocol::TCP, isn), &tuple, skb, direction);
            }
            FirstLook::Nothing
        }
        // NAT may hide it from the filter; but its SYN was seen.
        Glance::Answer { tuple, isn } => {
            if is_followed(isn) || asked_for_here(&tuple) {
                FirstLook::Look
            } else {
                FirstLook::Nothing
            }
        }
        Glance::Segment { tuple, seq } => {
            let isn = seq.wrapping_sub(1);
            let key = handshake_key(protocol::TCP, isn);
            if !may_be_followed(isn) {
                return FirstLook::Nothing;
            }
            let is_settling = asked_for_here(&tuple) && is_active(skb);
            if is_settling && (held::wants_segment(key) || settles(key)) {
                FirstLook::Settles
            } else {
                FirstLook::Nothing
            }
        }
    }
}

/// Whether this program is the one that reports the packet: where the tracepoints see it too, the
/// classifiers do not.
#[inline(always)]
fn is_active(skb: &Skb) -> bool {
    skb.object().is_some() || !is_everywhere()
}

/// Whether a SYN with this sequence number matches the filter, here or at another hop.
#[inline(always)]
pub(crate) fn is_followed(isn: u32) -> bool {
    let key = handshake_key(protocol::TCP, isn);
    may_be_followed(isn) && (held::may_be_held(key) || HANDSHAKES.get_ptr(key).is_some())
}

/// Whether a segment with the sequence number behind the SYN's settles a handshake that matches, and
/// may still be reported.
#[inline(always)]
fn settles(key: u64) -> bool {
    let Some(handshake) = HANDSHAKES.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the verifier checked the pointer. A lost race reports one sighting more.
    unsafe {
        (*handshake).settling += 1;
        (*handshake).settling <= SETTLING_SIGHTINGS
    }
}
