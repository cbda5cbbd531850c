//! A packet at an interface: does it tell of a handshake that matches, and where is it now?

use core::ptr::addr_of_mut;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    helpers::{bpf_ktime_get_ns, generated::bpf_probe_read_kernel as read_kernel_bytes},
    programs::TcContext,
};
use tracer_common::{
    event::{
        CAPTURE_LEN, EARLY_HOPS, EarlyHop, Handshake, Sighted, SightingEvent, handshake_key, kind,
        tally,
    },
    packet::{Bytes, DNS_PORT, Glance, Layer, Plain, Role, Tcp, glance, protocol, tcp, walk},
    tuple::Tuple,
};

use crate::{
    conntrack,
    maps::{EARLY, EVENTS, HANDSHAKES, LAYOUT, NO_HOPS, asked_for, sighting_room, tally},
    place::Place,
    skb::{Packet, Skb},
};

const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;
const ETHERNET_LEN: u32 = 14;
/// Sightings behind the SYN-ACK that are sent: the last ACK and the first data, at a few hops each.
/// A client that only listens acknowledges with the same sequence number for ever.
const SETTLING_SIGHTINGS: u64 = 16;

/// Looks at one packet. All but those of a handshake leave at the first look.
#[inline(always)]
pub(crate) fn observe(ctx: &TcContext, direction: u32) -> Option<()> {
    let context = ctx.skb.skb;
    let skb = Skb::behind(context.cast());
    match first_look(context) {
        FirstLook::Nothing => None,
        found => look(ctx, &skb, found == FirstLook::Settles, direction),
    }
}

/// What [`glance`] comes to with the filter.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum FirstLook {
    /// No part of a handshake that matches.
    Nothing,
    /// It may be one.
    Look,
    /// It settles one.
    Settles,
}

/// Calls no helper, unless the packet's flow matches or an end of the filter goes by name.
///
/// A function of its own, so that its share of the stack is free again when the parser needs it.
#[inline(never)]
fn first_look(context: *mut __sk_buff) -> FirstLook {
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
    match frame.glance(protocol as u16) {
        Glance::Nothing => FirstLook::Nothing,
        Glance::Look => FirstLook::Look,
        Glance::Segment { tuple, seq } => {
            if asked_for(&tuple) && settles(seq.wrapping_sub(1)) {
                FirstLook::Settles
            } else {
                FirstLook::Nothing
            }
        }
    }
}

/// The linear part of a frame, from where the context's `data` stands: the MAC header, or the IP
/// header on a device without one.
#[derive(Clone, Copy)]
struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    #[inline(always)]
    fn glance(&self, protocol: u16) -> Glance {
        // The EtherType repeats the context's protocol, and an IP header follows. On a device
        // without MAC header the same bytes are a source address.
        let is_ethernet = self
            .load::<[u8; 3]>(ETHERNET_LEN - 2)
            .is_some_and(|[p0, p1, ip]| {
                u16::from_ne_bytes([p0, p1]) == protocol && matches!(ip >> 4, 4 | 6)
            });
        if is_ethernet {
            glance(self, ETHERNET_LEN)
        } else {
            glance(self, 0)
        }
    }
}

impl Bytes for Frame {
    #[inline(always)]
    fn load<T: Plain>(&self, at: u32) -> Option<T> {
        let from = self.start + at as usize;
        if from + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: within the packet's linear part; the verifier checks the same.
        Some(unsafe { (from as *const T).read_unaligned() })
    }
}

/// Whether a segment with the sequence number behind `isn` settles a handshake that matches, and
/// may still be told.
#[inline(always)]
fn settles(isn: u32) -> bool {
    let Some(handshake) = HANDSHAKES.get_ptr_mut(handshake_key(protocol::TCP, isn)) else {
        return false;
    };
    // SAFETY: the verifier checked the pointer. A lost race tells one sighting more.
    unsafe {
        (*handshake).settling += 1;
        (*handshake).settling <= SETTLING_SIGHTINGS
    }
}

/// What a packet is to a handshake.
struct Part {
    /// The handshake's key; 0 if it has none.
    key: u64,
    /// Whether it is the handshake's first packet: a SYN, or a DNS query.
    opens: bool,
}

#[inline(always)]
fn look(ctx: &TcContext, skb: &Skb, settles: bool, direction: u32) -> Option<()> {
    let packet = &skb.packet()?;
    let room = sighting_room()?;
    let mut matches = settles;
    // Of a quoted packet, the protocol and where its transport header starts.
    let mut quoted = (0, 0);
    let readable = walk(packet, &mut room.layer, |role, layer| {
        matches |= asked_for(&layer.tuple);
        match role {
            Role::Travelling => room.flow = *layer,
            Role::Quoted => quoted = (layer.tuple.proto, layer.transport_at),
        }
    });
    if !readable {
        tally(tally::MALFORMED);
        return None;
    }
    let part = part(packet, &room.flow, quoted)?;
    conntrack::original_tuple(skb, &mut room.original);
    matches = matches
        || asked_for(&room.original)
        || (part.key != 0 && HANDSHAKES.get_ptr(part.key).is_some());
    if !matches {
        if part.opens {
            remember(part.key, skb, &room.flow.tuple, direction);
        }
        return None;
    }
    let payload = if settles {
        payload(ctx, skb, packet, &room.flow)
    } else {
        [0; 8]
    };
    if part.opens {
        // It may be there already; then it stays as it is.
        let _ = HANDSHAKES.insert(part.key, Handshake::default(), BPF_NOEXIST.into());
    }
    send(skb, packet, &room.original, payload, direction)
}

/// The first bytes of a segment's payload. Behind a ClientHello, what the server sends is of
/// interest too: its first data follows the number that the client acknowledges here.
#[inline(always)]
fn payload(ctx: &TcContext, skb: &Skb, packet: &Packet, flow: &Layer) -> [u8; 8] {
    let Some(tcp) = tcp(packet, flow) else {
        return [0; 8];
    };
    let network_at = packet.start - skb.pointer(&LAYOUT.skb_data);
    let at = network_at + u64::from(flow.end_at.saturating_sub(tcp.payload));
    let payload: [u8; 8] = ctx.load(at as usize).unwrap_or_default();
    if let [0x16, 0x03, _, _, _, 0x01, ..] = payload {
        let key = handshake_key(protocol::TCP, tcp.ack.wrapping_sub(1));
        let _ = HANDSHAKES.insert(key, Handshake::default(), BPF_NOEXIST.into());
    }
    payload
}

/// What the packet is to a handshake; `None` if nothing.
#[inline(always)]
fn part(packet: &Packet, flow: &Layer, quoted: (u8, u32)) -> Option<Part> {
    match flow.tuple.proto {
        protocol::TCP => {
            let tcp = tcp(packet, flow)?;
            let number = match (tcp.flags & Tcp::SYN != 0, tcp.flags & Tcp::ACK != 0) {
                (true, false) => tcp.seq,
                // The answer acknowledges the SYN, as does the RST that refuses it.
                (_, true) => tcp.ack.wrapping_sub(1),
                (false, false) => tcp.seq.wrapping_sub(1),
            };
            Some(Part {
                key: handshake_key(protocol::TCP, number),
                opens: tcp.flags & (Tcp::SYN | Tcp::ACK) == Tcp::SYN,
            })
        }
        protocol::UDP if flow.tuple.sport == DNS_PORT || flow.tuple.dport == DNS_PORT => {
            // The id, then the flags, whose highest bit says that it is an answer (RFC 1035).
            let [id0, id1, flags]: [u8; 3] = packet.load(flow.transport_at + 8)?;
            Some(Part {
                key: handshake_key(protocol::UDP, u16::from_be_bytes([id0, id1]).into()),
                opens: flags & 0x80 == 0,
            })
        }
        protocol::ICMP | protocol::ICMPV6 if quoted.1 != 0 => {
            // RFC 792 quotes eight bytes: ports, and TCP's sequence number.
            let seq: Option<[u8; 4]> = packet.load(quoted.1 + 4);
            let key = match (quoted.0, seq) {
                (protocol::TCP, Some(seq)) => handshake_key(protocol::TCP, u32::from_be_bytes(seq)),
                _ => 0,
            };
            Some(Part { key, opens: false })
        }
        _ => None,
    }
}

/// Keeps the sighting of a packet that does not match: NAT may make it match at a later hop.
#[inline(always)]
fn remember(key: u64, skb: &Skb, flow: &Tuple, direction: u32) -> Option<()> {
    let entry = match EARLY.get_ptr_mut(key) {
        Some(entry) => entry,
        None => {
            // SAFETY: nobody writes to this entry.
            let empty = unsafe { &*NO_HOPS.get_ptr(0)? };
            let _ = EARLY.insert(key, empty, BPF_NOEXIST.into());
            EARLY.get_ptr_mut(key)?
        }
    };
    let place = sighted(skb, direction)?;
    // SAFETY: the verifier checked the pointer, and the bound below. Two CPUs that race for a slot
    // cost one early hop.
    unsafe {
        let len = (*entry).len as usize;
        if len >= EARLY_HOPS {
            return None;
        }
        (*entry).hops[len] = EarlyHop {
            at: bpf_ktime_get_ns(),
            flow: *flow,
            place,
        };
        (*entry).len = len as u64 + 1;
    }
    Some(())
}

#[inline(always)]
fn sighted(skb: &Skb, direction: u32) -> Option<Sighted> {
    let place = Place::at_device(skb)?;
    Some(Sighted {
        netns: place.netns,
        ifindex: place.ifindex,
        direction,
        mtu: place.mtu(),
        ifname: place.ifname(),
    })
}

#[inline(always)]
fn send(
    skb: &Skb,
    packet: &Packet,
    original: &Tuple,
    payload: [u8; 8],
    direction: u32,
) -> Option<()> {
    let place = sighted(skb, direction)?;
    let Some(mut entry) = EVENTS.reserve::<SightingEvent>(0) else {
        tally(tally::LOST);
        return None;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: `event` points to a whole event in the ring buffer, of which every field is written.
    unsafe {
        (*event).kind = kind::SIGHTING;
        (*event).at = bpf_ktime_get_ns();
        (*event).original = *original;
        (*event).place = place;
        (*event).len = skb.len_from(packet);
        (*event).payload = payload;
        let len = packet.linear.min(CAPTURE_LEN as u32);
        let failed = read_kernel_bytes(
            addr_of_mut!((*event).capture).cast(),
            len,
            packet.start as *const _,
        );
        (*event).capture_len = if failed == 0 { len } else { 0 };
    }
    entry.submit(0);
    Some(())
}
