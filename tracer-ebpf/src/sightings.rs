//! A packet at an interface: does it tell of a handshake that matches, and where is it now?

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    helpers::bpf_ktime_get_ns,
    programs::TcContext,
};
use tracer_common::{
    event::{
        EARLY_HOPS, EarlyHops, Handshake, Sighted, SightingEvent, direction, handshake_key, kind,
        tally,
    },
    packet::{
        Bytes, DNS_PORT, Glance, Layer, PLAIN_V4, PLAIN_V6, Plain, Role, Tcp, glance, glance_v4,
        glance_v6, plain, protocol, segment_ends_v4, segment_ends_v6, tcp, walk,
    },
    tuple::Tuple,
};

use crate::{
    conntrack,
    maps::{
        EARLY, FILTER, HANDSHAKES, LAYOUT, WATCHED, asked_for, asked_for_here, send, sighting_room,
        tally,
    },
    place::Place,
    skb::{Packet, Skb, Start, Version},
};

const IPV4: u32 = 0x0800u16.to_be() as u32;
const IPV6: u32 = 0x86ddu16.to_be() as u32;
const ETHERNET_LEN: u32 = 14;
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

/// Looks at one packet. All but those of a handshake leave at the first look.
#[inline(always)]
pub(crate) fn observe(ctx: &TcContext, direction: u32) -> Option<()> {
    let context = ctx.skb.skb;
    let skb = Skb::behind(context.cast());
    let mut first = first_look(context);
    if first == FirstLook::Unclear {
        first = second_look(context);
    }
    if first == FirstLook::Nothing {
        return None;
    }
    let room = sighting_room()?;
    let skb = skb.copied(&mut room.skb)?;
    let packet = skb.packet()?;
    if first == FirstLook::Unclear {
        first = look_inside(packet.start, packet.linear, packet.version);
    }
    match first {
        FirstLook::Nothing => None,
        found => {
            // Paged payload too.
            let payload = |at: u32| {
                let from_data = packet.start - skb.pointer(&LAYOUT.skb_data) + u64::from(at);
                ctx.load(from_data as usize).ok()
            };
            let settles = found == FirstLook::Settles;
            look(&skb, &packet, settles, payload, direction)
        }
    }
}

/// Looks at one packet at the tracepoints that those of all interfaces pass: `netif_receive_skb` is
/// just before tc ingress, `net_dev_queue` just behind tc egress.
#[inline(always)]
pub(crate) fn observe_everywhere(skb: Skb, direction: u32) -> Option<()> {
    let object = skb.object()?;
    let net = object.follow(&LAYOUT.skb_dev)?.follow(&LAYOUT.dev_net)?;
    if !WATCHED.contains(net.load(&LAYOUT.net_inode)?) {
        return None;
    }
    // The network header of what comes in is not set yet: the packet starts there.
    let packet = if direction == direction::IN {
        skb.packet_at_data()?
    } else {
        skb.packet()?
    };
    let mut first = first_bytes(packet.start, packet.linear);
    if first == FirstLook::Look {
        // A tunnel: what is inside lies further back.
        first = look_inside(packet.start, packet.linear, packet.version);
    }
    match first {
        FirstLook::Nothing => None,
        found => {
            let payload = |at: u32| packet.load(at);
            let settles = found == FirstLook::Settles;
            look(&skb, &packet, settles, payload, direction)
        }
    }
}

/// The first look, by one helper call. It is enough for all but tunnels.
#[inline(never)]
fn first_bytes(start: u64, linear: u32) -> FirstLook {
    /// IPv4 and TCP, or IPv6 and TCP's flags.
    const LENGTHS: [usize; 3] = [54, 40, 28];
    if linear >= LENGTHS[0] as u32 {
        first_of::<{ LENGTHS[0] }>(start)
    } else if linear >= LENGTHS[1] as u32 {
        first_of::<{ LENGTHS[1] }>(start)
    } else if linear >= LENGTHS[2] as u32 {
        first_of::<{ LENGTHS[2] }>(start)
    } else {
        FirstLook::Look
    }
}

/// Of so many bytes. Where such looks share their end, the verifier of Linux 6.1 loses track of what
/// each has found.
#[inline(always)]
fn first_of<const LEN: usize>(start: u64) -> FirstLook {
    match Start::<LEN>::read(start) {
        Some(start) => with_filter(glance(&start, 0)),
        None => FirstLook::Look,
    }
}

/// The first look, by a helper call for each load.
#[inline(never)]
fn look_inside(start: u64, linear: u32, version: Version) -> FirstLook {
    let packet = Packet {
        start,
        linear,
        version,
    };
    with_filter(glance(&packet, 0))
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
    /// More of the packet must be looked at.
    Unclear,
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
    // On a device without MAC header other bytes stand at its end.
    if protocol == IPV4 {
        let Some(known) = frame.known::<V4_KNOWN>(protocol as u16) else {
            return FirstLook::Unclear;
        };
        if segment_ends_v4(&known, ETHERNET_LEN).is_some_and(|ends| FILTER.excludes(&ends)) {
            return FirstLook::Nothing;
        }
        unless_tunnel(
            with_filter(glance_v4(&known, ETHERNET_LEN)),
            &known,
            V4_PROTOCOL,
        )
    } else {
        let Some(known) = frame.known::<V6_KNOWN>(protocol as u16) else {
            return FirstLook::Unclear;
        };
        if segment_ends_v6(&known, ETHERNET_LEN).is_some_and(|ends| FILTER.excludes(&ends)) {
            return FirstLook::Nothing;
        }
        unless_tunnel(
            with_filter(glance_v6(&known, ETHERNET_LEN)),
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
fn second_look(context: *mut __sk_buff) -> FirstLook {
    // SAFETY: the verifier checks the context's fields.
    let (protocol, start, end) =
        unsafe { ((*context).protocol, (*context).data, (*context).data_end) };
    let frame = Frame {
        start: start as usize,
        end: end as usize,
    };
    match frame.known::<TUNNEL_KNOWN>(protocol as u16) {
        Some(known) => with_filter(glance(&known, ETHERNET_LEN)),
        None => FirstLook::Unclear,
    }
}

#[inline(always)]
fn with_filter(glance: Glance) -> FirstLook {
    match glance {
        Glance::Nothing => FirstLook::Nothing,
        Glance::Look => FirstLook::Look,
        // NAT may hide it from the filter; but its SYN was seen.
        Glance::Answer { tuple, isn } => {
            if is_followed(isn) || asked_for_here(&tuple) {
                FirstLook::Look
            } else {
                FirstLook::Nothing
            }
        }
        Glance::Segment { tuple, seq } => {
            if asked_for_here(&tuple) && settles(seq.wrapping_sub(1)) {
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
    /// An Ethernet frame of at least so many bytes and this protocol: one check of the bounds is
    /// enough for few and wide loads.
    #[inline(always)]
    fn known<const LEN: usize>(&self, protocol: u16) -> Option<Known<LEN>> {
        if self.start + LEN > self.end {
            return None;
        }
        let known = Known::<LEN>(self.start);
        let [p0, p1, ..]: [u8; 4] = known.load(ETHERNET_LEN - 2)?;
        (u16::from_ne_bytes([p0, p1]) == protocol).then_some(known)
    }
}

/// A frame of at least so many bytes.
struct Known<const LEN: usize>(usize);

impl<const LEN: usize> Bytes for Known<LEN> {
    #[inline(always)]
    fn load<T: Plain>(&self, at: u32) -> Option<T> {
        if at as usize + size_of::<T>() > LEN {
            return None;
        }
        // SAFETY: within the bytes that are there; the verifier checks the same.
        Some(unsafe { read_words(self.0 + at as usize) })
    }
}

/// Reads by the widest words there are. For an unaligned read, the compiler would read byte by
/// byte; the machines that the kernel lets read packets like this do not need that.
///
/// # Safety
///
/// As many bytes as `T` has can be read.
#[inline(always)]
unsafe fn read_words<T: Plain>(from: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let to: *mut u8 = value.as_mut_ptr().cast();
    let mut at = 0;
    // SAFETY: as required of the caller, and `value` has room for as many. The loops are unrolled:
    // all their bounds are constants.
    unsafe {
        while size_of::<T>() - at >= 4 {
            let word = ((from + at) as *const u32).read_volatile();
            to.add(at).cast::<u32>().write_unaligned(word);
            at += 4;
        }
        if size_of::<T>() - at >= 2 {
            let word = ((from + at) as *const u16).read_volatile();
            to.add(at).cast::<u16>().write_unaligned(word);
            at += 2;
        }
        if size_of::<T>() - at == 1 {
            to.add(at).write(((from + at) as *const u8).read_volatile());
        }
        value.assume_init()
    }
}

/// Whether a SYN with this sequence number matches the filter, here or at another hop.
#[inline(always)]
fn is_followed(isn: u32) -> bool {
    let key = handshake_key(protocol::TCP, isn);
    HANDSHAKES.get_ptr(key).is_some()
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
fn look(
    skb: &Skb,
    packet: &Packet,
    settles: bool,
    load: impl Fn(u32) -> Option<[u8; 8]>,
    direction: u32,
) -> Option<()> {
    let room = sighting_room()?;
    let mut matches = settles;
    // Of a quoted packet, the protocol and where its transport header starts.
    let mut quoted = (0, 0);
    if look_plainly(packet.start, packet.linear, packet.version) {
        matches = matches || asked_for(&room.flow.tuple);
    } else {
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
    }
    let part = part(packet, &room.flow, quoted)?;
    conntrack::original_tuple(skb, &mut room.event.original);
    let is_followed = part.key != 0 && HANDSHAKES.get_ptr(part.key).is_some();
    matches = matches || is_followed || asked_for(&room.event.original);
    if !matches {
        if part.opens {
            remember(part.key, skb, &room.flow.tuple, direction);
        }
        return None;
    }
    room.event.payload = if settles {
        payload(packet, &room.flow, load)
    } else {
        [0; 8]
    };
    if part.opens && !is_followed {
        // Another CPU may be first; then its entry is the one to use.
        let _ = HANDSHAKES.insert(part.key, Handshake::default(), BPF_NOEXIST.into());
    }
    tell(skb, packet, &mut room.event, direction)
}

/// Puts the only layer of a plain packet into the room, by one helper call. `false` if it is not
/// plain: then the whole parser must look.
///
/// A function of its own, so that its share of the stack is free again when the parser needs it.
#[inline(never)]
fn look_plainly(start: u64, linear: u32, version: Version) -> bool {
    match version {
        Version::V4 => plain_bytes::<PLAIN_V4>(start, linear),
        Version::V6 => plain_bytes::<PLAIN_V6>(start, linear),
    }
}

#[inline(always)]
fn plain_bytes<const LEN: usize>(start: u64, linear: u32) -> bool {
    if linear < LEN as u32 {
        return false;
    }
    let Some(layer) = Start::<LEN>::read(start).and_then(|start| plain(&start)) else {
        return false;
    };
    let Some(room) = sighting_room() else {
        return false;
    };
    room.flow = layer;
    true
}

/// The first bytes of a segment's payload. Behind a ClientHello, what the server sends is of
/// interest too: its first data follows the number that the client acknowledges here.
#[inline(always)]
fn payload(packet: &Packet, flow: &Layer, load: impl Fn(u32) -> Option<[u8; 8]>) -> [u8; 8] {
    let Some(tcp) = tcp(packet, flow) else {
        return [0; 8];
    };
    let payload = load(flow.end_at.saturating_sub(tcp.payload)).unwrap_or_default();
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
    let entry = EARLY.get_ptr_mut(EarlyHops::place(key))?;
    let place = sighted(skb, direction)?;
    // SAFETY: the verifier checked the pointer, and the bound below. Two CPUs that race for a place
    // cost one early hop.
    unsafe {
        let mut len = (*entry).len as usize;
        if (*entry).hops[0].key != key {
            len = 0;
        }
        if len >= EARLY_HOPS {
            return None;
        }
        let hop = &mut (*entry).hops[len];
        hop.key = key;
        hop.at = bpf_ktime_get_ns();
        hop.flow = *flow;
        hop.place = place;
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
        mtu: place.mtu(skb),
        ifname: place.ifname(skb),
    })
}

#[inline(always)]
fn tell(skb: &Skb, packet: &Packet, event: &mut SightingEvent, direction: u32) -> Option<()> {
    event.place = sighted(skb, direction)?;
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    event.kind = kind::SIGHTING;
    event.at = now;
    event.len = skb.len_from(packet);
    event.capture_len = packet.capture(&mut event.capture);
    send(event, event.sent_len(), now);
    Some(())
}
