//! Ports, and the way into tunnels and ICMP quotes.

use network_types::{geneve::GeneveHdr, udp::UdpHdr, vxlan::VxlanHdr};

use super::{Layer, Next, bytes::Bytes, protocol};
use crate::{tunnel::Tunnel, tuple::Tuple};

pub(super) const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(super) const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];
/// "Transparent Ethernet bridging": an Ethernet frame inside GRE or Geneve.
pub(super) const ETHERTYPE_ETHERNET: [u8; 2] = [0x65, 0x58];
const ETHERNET_LEN: u32 = 14;
const VLAN_LEN: u32 = 4;

/// Reads the start of the payload behind the IP header of `layer` into it.
#[inline(always)]
pub(super) fn read<B: Bytes>(bytes: &B, layer: &mut Layer) {
    let at = layer.transport_at;
    match layer.tuple.proto {
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDPLITE => {
            if let Some([s0, s1, d0, d1]) = bytes.load::<[u8; 4]>(at) {
                layer.tuple.sport = u16::from_be_bytes([s0, s1]);
                layer.tuple.dport = u16::from_be_bytes([d0, d1]);
                layer.tuple.flags = Tuple::HAS_PORTS;
                if layer.tuple.proto == protocol::UDP {
                    layer.next = udp(bytes, at, layer.tuple.dport);
                }
            }
        }
        protocol::ICMP => {
            if let Some(icmp) = bytes.load::<[u8; 2]>(at) {
                layer.icmp = icmp;
                // Unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
                if matches!(icmp[0], 3 | 4 | 5 | 11 | 12) {
                    layer.next = Next::Quoted(at + 8);
                }
            }
        }
        protocol::ICMPV6 => {
            if let Some(icmp) = bytes.load::<[u8; 2]>(at) {
                layer.icmp = icmp;
                // Error messages have the high bit clear (RFC 4443).
                if icmp[0] < 128 {
                    layer.next = Next::Quoted(at + 8);
                }
            }
        }
        protocol::IPIP | protocol::IPV6 => layer.next = Next::Inner(at),
        protocol::GRE => layer.next = gre(bytes, at).unwrap_or(Next::Nothing),
        _ => {}
    }
}

/// What a UDP datagram to this port carries.
#[inline(always)]
fn udp<B: Bytes>(bytes: &B, at: u32, dport: u16) -> Next {
    let payload = at + UdpHdr::LEN as u32;
    let inner = if Tunnel::Vxlan.has_port(dport) {
        vxlan(bytes, payload)
    } else if Tunnel::Geneve.has_port(dport) {
        geneve(bytes, payload)
    } else {
        None
    };
    inner.unwrap_or(Next::Nothing)
}

/// VXLAN (RFC 7348): the I flag must be set, an Ethernet frame follows.
#[inline(always)]
fn vxlan<B: Bytes>(bytes: &B, at: u32) -> Option<Next> {
    let header: VxlanHdr = bytes.load(at)?;
    if header.flags & network_types::vxlan::VXLAN_I_FLAG_MASK == 0 {
        return None;
    }
    ethernet(bytes, at + size_of::<VxlanHdr>() as u32)
}

/// Geneve (RFC 8926): options of up to 252 bytes, then what the protocol type says.
#[inline(always)]
fn geneve<B: Bytes>(bytes: &B, at: u32) -> Option<Next> {
    let header: GeneveHdr = bytes.load(at)?;
    let options_len = u32::from(header.ver_opt_len & 0x3f) * 4;
    carried(
        bytes,
        at + size_of::<GeneveHdr>() as u32 + options_len,
        header.protocol_type,
    )
}

/// GRE version 0 (RFC 2784, 2890): checksum, key and sequence number are optional words.
#[inline(always)]
fn gre<B: Bytes>(bytes: &B, at: u32) -> Option<Next> {
    let [flags, version, p0, p1]: [u8; 4] = bytes.load(at)?;
    if version & 0x7 != 0 {
        return None;
    }
    let words =
        1 + u32::from(flags >> 7 & 1) + u32::from(flags >> 5 & 1) + u32::from(flags >> 4 & 1);
    carried(bytes, at + words * 4, [p0, p1])
}

/// The IP packet inside a payload of this EtherType.
#[inline(always)]
fn carried<B: Bytes>(bytes: &B, at: u32, ethertype: [u8; 2]) -> Option<Next> {
    match ethertype {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Some(Next::Inner(at)),
        ETHERTYPE_ETHERNET => ethernet(bytes, at),
        _ => None,
    }
}

/// The IP packet inside an Ethernet frame, behind one VLAN tag at most.
#[inline(always)]
fn ethernet<B: Bytes>(bytes: &B, at: u32) -> Option<Next> {
    match bytes.load::<[u8; 2]>(at + ETHERNET_LEN - 2)? {
        ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Some(Next::Inner(at + ETHERNET_LEN)),
        ETHERTYPE_VLAN => match bytes.load::<[u8; 2]>(at + ETHERNET_LEN + VLAN_LEN - 2)? {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => Some(Next::Inner(at + ETHERNET_LEN + VLAN_LEN)),
            _ => None,
        },
        _ => None,
    }
}
