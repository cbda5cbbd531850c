//! A packet at an interface: does it tell of a handshake that matches, and where is it now?

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::TcContext};
use tracer_common::{
    event::{Handshake, Sighted, SightingEvent, direction, handshake_key, held_flow, kind, tally},
    packet::{
        Bytes as _, DNS_PORT, Layer, PLAIN_V4, PLAIN_V6, Role, Tcp, plain, protocol, tcp, walk,
    },
    tuple::Tuple,
};

use crate::{
    conntrack,
    early::{learn_early, remember},
    first_look::{FirstLook, first_bytes, first_look, look_inside, second_look},
    held::{self, role},
    maps::{
        FILTER, HANDSHAKES, LAYOUT, WATCHED, asked_for, follow, is_everywhere, is_learned, learn,
        send, sighting_room, tally,
    },
    place::Place,
    skb::{Packet, Skb, Start, Version},
};

/// Looks at one packet. All but those of a handshake leave at the first look.
#[inline(always)]
pub(crate) fn observe(ctx: &TcContext, direction: u32) -> Option<()> {
    let context = ctx.skb.skb;
    let skb = Skb::behind(context.cast());
    let mut first = first_look(context, direction);
    if first == FirstLook::Unclear {
        first = second_look(context, direction);
    }
    if first == FirstLook::Nothing || is_everywhere() {
        return None;
    }
    let room = sighting_room()?;
    let skb = skb.copied(&mut room.skb)?;
    let packet = skb.packet()?;
    if first == FirstLook::Unclear {
        first = look_inside(&skb, &packet, direction);
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
    let mut first = first_bytes(&skb, packet.start, packet.linear, direction);
    if first == FirstLook::Look {
        // A tunnel: what is inside lies further back.
        first = look_inside(&skb, &packet, direction);
    }
    match first {
        FirstLook::Nothing => None,
        _ if !is_everywhere() => None,
        found => {
            let payload = |at: u32| packet.load(at);
            let settles = found == FirstLook::Settles;
            look(&skb, &packet, settles, payload, direction)
        }
    }
}

/// What a packet is to a handshake.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Part {
    /// The handshake's key; 0 if it has none.
    key: u64,
    /// The client's port, for the handshake's first packet.
    client_port: u64,
    /// Which of its packets it is: one of [`role`]. The first one may be a DNS query too.
    role: u32,
    /// Not 0: it matches by itself, as a packet in a tunnel and one that is quoted do, too.
    is_direct: u32,
    /// Not 0: it is of a connection that matches elsewhere, by what was learned.
    is_known: u32,
    /// Not 0: its handshake was not known before.
    begins: u32,
    /// Not 0: it quotes a packet, …
    quotes: u32,
    /// … of this flow, as [`held_flow`] has it.
    quoted_flow: u32,
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
    // Whether an ICMP error, or what is in a tunnel, is of a connection that matches elsewhere.
    let mut is_known = false;
    // Of a quoted packet, the protocol, where its transport header starts, and its flow.
    let mut quoted = (0, 0);
    let mut quoted_flow = 0;
    if look_plainly(packet.start, packet.linear, packet.version) {
        matches = matches || asked_for(&room.flow.tuple);
    } else {
        let readable = walk(packet, &mut room.layer, |role, layer| {
            matches |= asked_for(&layer.tuple);
            is_known |= is_learned(&layer.tuple);
            match role {
                Role::Travelling => room.flow = *layer,
                Role::Quoted => {
                    quoted = (layer.tuple.proto, layer.transport_at);
                    quoted_flow = held_flow(&layer.tuple);
                }
            }
        });
        if !readable {
            tally(tally::MALFORMED);
            return None;
        }
    }
    room.part = part(skb, packet, &room.flow, quoted, settles)?;
    room.event.payload = if settles {
        payload(packet, &room.flow, load, held::is_held(room.part.key))
    } else {
        [0; 8]
    };
    room.part.is_direct = matches.into();
    room.part.is_known = is_known.into();
    room.part.quotes = (quoted.1 != 0).into();
    room.part.quoted_flow = quoted_flow;
    room.packet = *packet;
    judge(skb, direction)
}

/// Whether the packet in this CPU's room is of a handshake that matches; then it is kept or sent.
///
/// A function of its own, which takes what it can from there: what is loaded from a map has no history for
/// the verifier, which would follow each way to here to the end otherwise.
#[inline(never)]
fn judge(skb: &Skb, direction: u32) -> Option<()> {
    let room = sighting_room()?;
    conntrack::original_tuple(skb, &mut room.event.original);
    let (tuple, part) = (&room.flow.tuple, &mut room.part);
    let opens = part.role == role::OPENS;
    let is_direct = part.is_direct != 0;
    part.client_port = u64::from(if opens { tuple.sport } else { tuple.dport });
    let mut is_followed = false;
    // Whether it is surely of a handshake that matches elsewhere.
    let mut is_its_own = opens;
    if held::is_held(part.key) {
        is_followed = true;
        is_its_own = tuple.proto == protocol::TCP;
    } else if part.key != 0
        && let Some(handshake) = HANDSHAKES.get_ptr(part.key)
    {
        is_followed = true;
        is_its_own = match tuple.proto {
            protocol::TCP => true,
            // SAFETY: the verifier checked the pointer; a port is written once.
            protocol::UDP => unsafe { (*handshake).port == part.client_port },
            _ => false,
        };
    }
    let is_near = is_direct || part.is_known != 0 || is_followed;
    if !is_near && !asked_for(&room.event.original) {
        if opens && FILTER.may_match_behind_nat(tuple) {
            remember(part.key, tuple, skb, direction);
        }
        return None;
    }
    // Only where NAT was, conntrack says that it is DNS.
    let hides_dns = tuple.proto == protocol::UDP && !has_dns_port(tuple);
    if is_its_own && (!is_direct || hides_dns) && !is_learned(tuple) {
        // Later packets of it, and the errors about them, are known by this.
        learn(tuple);
    }
    part.begins = (opens && !is_followed).into();
    describe(skb, &room.packet, &mut room.event, direction)?;
    deliver();
    Some(())
}

/// Keeps or sends what is in this CPU's room.
///
/// A function of its own, as [`judge`] is.
#[inline(never)]
fn deliver() {
    let Some(room) = sighting_room() else {
        return;
    };
    let (event, tuple, part) = (&room.event, &room.flow.tuple, &room.part);
    let flow = held_flow(tuple);
    if part.begins != 0 {
        learn_early(part.key);
        let is_tcp = tuple.proto == protocol::TCP;
        if !is_tcp || !held::begin(part.key, flow, event) {
            let handshake = Handshake {
                settling: 0,
                port: part.client_port,
            };
            follow(part.key, &handshake);
        }
    }
    if part.quotes != 0 {
        held::release_flow(part.quoted_flow, event.at);
    }
    if !held::keep(part.key, event, flow, part.role) {
        send(event, event.sent_len(), tuple, event.at);
    }
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
fn payload(
    packet: &Packet,
    flow: &Layer,
    load: impl Fn(u32) -> Option<[u8; 8]>,
    is_held: bool,
) -> [u8; 8] {
    let Some(tcp) = tcp(packet, flow) else {
        return [0; 8];
    };
    let payload = load(flow.end_at.saturating_sub(tcp.payload)).unwrap_or_default();
    if let [0x16, 0x03, _, _, _, 0x01, ..] = payload
        && !is_held
    {
        let key = handshake_key(protocol::TCP, tcp.ack.wrapping_sub(1));
        follow(key, &Handshake::default());
    }
    payload
}

/// What the packet is to a handshake; `None` if nothing.
#[inline(always)]
fn part(
    skb: &Skb,
    packet: &Packet,
    flow: &Layer,
    quoted: (u8, u32),
    settles: bool,
) -> Option<Part> {
    match flow.tuple.proto {
        protocol::TCP => {
            let tcp = tcp(packet, flow)?;
            let has = |flag| tcp.flags & flag != 0;
            let (opened, acknowledged) = (tcp.seq.wrapping_sub(1), tcp.ack.wrapping_sub(1));
            let (number, role) = match (has(Tcp::SYN), has(Tcp::RST), has(Tcp::ACK)) {
                (true, _, false) => (tcp.seq, role::OPENS),
                _ if settles => (opened, role::SETTLES),
                // The answer acknowledges the SYN, as does the RST that refuses it.
                (false, true, true) => (acknowledged, role::ENDS),
                (_, _, true) => (acknowledged, role::ANSWERS),
                (false, _, false) => (opened, role::ENDS),
            };
            Some(Part {
                key: handshake_key(protocol::TCP, number),
                role,
                ..Part::default()
            })
        }
        protocol::UDP if is_dns(skb, &flow.tuple) => {
            // The id, then the flags, whose highest bit says that it is an answer (RFC 1035).
            let [id0, id1, flags]: [u8; 3] = packet.load(flow.transport_at + 8)?;
            Some(Part {
                key: handshake_key(protocol::UDP, u16::from_be_bytes([id0, id1]).into()),
                role: if flags & 0x80 == 0 {
                    role::OPENS
                } else {
                    role::ANSWERS
                },
                ..Part::default()
            })
        }
        protocol::ICMP | protocol::ICMPV6 if quoted.1 != 0 => {
            // RFC 792 quotes eight bytes: ports, and TCP's sequence number.
            let seq: Option<[u8; 4]> = packet.load(quoted.1 + 4);
            let key = match (quoted.0, seq) {
                (protocol::TCP, Some(seq)) => handshake_key(protocol::TCP, u32::from_be_bytes(seq)),
                _ => 0,
            };
            Some(Part {
                key,
                role: role::ENDS,
                ..Part::default()
            })
        }
        _ => None,
    }
}

/// Whether it is a DNS message, also where NAT hides that.
#[inline(always)]
fn is_dns(skb: &Skb, tuple: &Tuple) -> bool {
    has_dns_port(tuple)
        || FILTER.may_be_of_dns() && (is_learned(tuple) || conntrack::was_for_dns(skb))
}

#[inline(always)]
fn has_dns_port(tuple: &Tuple) -> bool {
    tuple.sport == DNS_PORT || tuple.dport == DNS_PORT
}

/// Where a packet is seen at an interface.
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

/// Writes where and when the packet is seen, and its first bytes.
#[inline(always)]
fn describe(skb: &Skb, packet: &Packet, event: &mut SightingEvent, direction: u32) -> Option<()> {
    event.place = sighted(skb, direction)?;
    event.kind = kind::SIGHTING;
    // SAFETY: the helper has no preconditions.
    event.at = unsafe { bpf_ktime_get_ns() };
    event.len = skb.len_from(packet);
    event.capture_len = packet.capture(&mut event.capture);
    Some(())
}
