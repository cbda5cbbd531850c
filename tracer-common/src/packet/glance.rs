//! A first look at a packet: is it one that tells of a handshake at all?
//!
//! The tc probes see every packet of every interface. All but a few leave them here, after a look
//! at a handful of bytes. What this cannot decide (options, extension headers, packets cut off) is
//! left to the whole parser; it never says "nothing" of a packet that the parser would report.
//!
//! Every load is of two bytes or more: of one byte, the compiler makes a comparison in which the
//! verifier does not recognise the bounds check.

use network_types::vxlan::VXLAN_I_FLAG_MASK;

use super::{
    Bytes, Tcp,
    protocol::{ICMP, ICMPV6, TCP, UDP},
    transport::{ETHERTYPE_ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6},
};
use crate::{address::Address, tunnel::Tunnel, tuple::Tuple};

const SYN_ACK: u8 = Tcp::SYN | Tcp::ACK;

/// UDP port of DNS.
pub const DNS_PORT: u16 = 53;

/// What a first look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// No part of a handshake.
    Nothing,
    /// It may be one: the whole parser must look.
    Look,
    /// A datagram of no tunnel, to and from other ports than that of DNS: NAT may have changed them.
    Datagram {
        /// Its flow.
        tuple: Tuple,
    },
    /// A SYN that opens a connection, not in a tunnel.
    Opens {
        /// Its flow.
        tuple: Tuple,
        /// Its sequence number, host byte order.
        isn: u32,
    },
    /// A SYN-ACK. It answers the SYN that had this initial sequence number.
    Answer {
        /// Its flow, the innermost.
        tuple: Tuple,
        /// The SYN's, host byte order: one less than what it acknowledges.
        isn: u32,
    },
    /// A TCP segment without SYN and RST. It settles a handshake if its sequence number is the
    /// SYN's plus one.
    Segment {
        /// Its flow, the innermost.
        tuple: Tuple,
        /// Its sequence number, host byte order.
        seq: u32,
    },
}

/// Bytes of the headers between UDP's and the inner IP header: VXLAN (or Geneve without options),
/// Ethernet.
const TUNNEL_LEN: u32 = 8 + 14;

/// Looks at the packet whose IP header is at `at`.
#[inline(always)]
pub fn glance<B: Bytes>(bytes: &B, at: u32) -> Glance {
    behind(bytes, ip(bytes, at))
}

/// The same where the IP header can only be one of IPv4 without options: all offsets are constants.
#[inline(always)]
pub fn glance_v4<B: Bytes>(bytes: &B, at: u32) -> Glance {
    match bytes.load::<[u8; 4]>(at) {
        Some([0x45, ..]) => behind(bytes, v4(bytes, at)),
        _ => Glance::Look,
    }
}

/// The same for IPv6.
#[inline(always)]
pub fn glance_v6<B: Bytes>(bytes: &B, at: u32) -> Glance {
    match bytes.load::<[u8; 4]>(at) {
        Some([0x60..=0x6f, ..]) => behind(bytes, v6(bytes, at)),
        _ => Glance::Look,
    }
}

/// Looks at what follows an IP header.
#[inline(always)]
fn behind<B: Bytes>(bytes: &B, header: Result<(Tuple, u32), Glance>) -> Glance {
    let (outer, payload) = match header {
        Ok(header) => header,
        Err(glance) => return glance,
    };
    if outer.proto != UDP {
        return transport(bytes, outer, payload);
    }
    let Some(ports) = ports(bytes, outer, payload) else {
        return Glance::Look;
    };
    // An answer may go to any port, those of tunnels included.
    if is_dns(&ports) {
        return Glance::Look;
    }
    if !is_tunnel(&ports) {
        return Glance::Datagram { tuple: ports };
    }
    let Some(inner_at) = in_tunnel(bytes, payload + 8, &ports) else {
        return Glance::Look;
    };
    match ip(bytes, inner_at) {
        Ok((inner, payload)) if inner.proto != UDP => match transport(bytes, inner, payload) {
            // The tunnel itself may be what is asked for.
            Glance::Opens { .. } => Glance::Look,
            glance => glance,
        },
        Ok((inner, payload)) => match self::ports(bytes, inner, payload) {
            Some(ports) if !is_dns(&ports) && !is_tunnel(&ports) => Glance::Nothing,
            _ => Glance::Look,
        },
        Err(glance) => glance,
    }
}

/// Where the IP header is behind the plainest of headers of VXLAN (with the I flag) or Geneve
/// (without options) at `at`, and an Ethernet header without a VLAN tag. `None` of all else.
#[inline(always)]
fn in_tunnel<B: Bytes>(bytes: &B, at: u32, ports: &Tuple) -> Option<u32> {
    let [first, _, p0, p1]: [u8; 4] = bytes.load(at)?;
    let is_plain = if Tunnel::Geneve.has_port(ports.dport) {
        first & 0x3f == 0 && [p0, p1] == ETHERTYPE_ETHERNET
    } else {
        first & VXLAN_I_FLAG_MASK != 0
    };
    let inner_at = at + TUNNEL_LEN;
    let ethertype: [u8; 2] = bytes.load(inner_at - 2)?;
    (is_plain && matches!(ethertype, ETHERTYPE_IPV4 | ETHERTYPE_IPV6)).then_some(inner_at)
}

/// The addresses and the protocol of a plain header, and where its payload starts.
#[inline(always)]
pub(super) fn ip<B: Bytes>(bytes: &B, at: u32) -> Result<(Tuple, u32), Glance> {
    let [first, _]: [u8; 2] = bytes.load(at).ok_or(Glance::Look)?;
    match first {
        // Version 4, five words: no options.
        0x45 => v4(bytes, at),
        0x60..=0x6f => v6(bytes, at),
        _ => Err(Glance::Look),
    }
}

#[inline(always)]
fn v4<B: Bytes>(bytes: &B, at: u32) -> Result<(Tuple, u32), Glance> {
    let [.., f0, f1, _, proto, _, _]: [u8; 12] = bytes.load(at).ok_or(Glance::Look)?;
    // Behind the first fragment there is nothing to see.
    if u16::from_be_bytes([f0, f1]) & 0x1fff != 0 {
        return Err(Glance::Nothing);
    }
    let src: [u8; 4] = bytes.load(at + 12).ok_or(Glance::Look)?;
    let dst: [u8; 4] = bytes.load(at + 16).ok_or(Glance::Look)?;
    let tuple = Tuple {
        src: Address::v4(src),
        dst: Address::v4(dst),
        proto,
        ..Tuple::default()
    };
    Ok((tuple, at + 20))
}

#[inline(always)]
fn v6<B: Bytes>(bytes: &B, at: u32) -> Result<(Tuple, u32), Glance> {
    let [proto, _]: [u8; 2] = bytes.load(at + 6).ok_or(Glance::Look)?;
    let src: [u8; 16] = bytes.load(at + 8).ok_or(Glance::Look)?;
    let dst: [u8; 16] = bytes.load(at + 24).ok_or(Glance::Look)?;
    let tuple = Tuple {
        src: Address::v6(src),
        dst: Address::v6(dst),
        proto,
        ..Tuple::default()
    };
    Ok((tuple, at + 40))
}

#[inline(always)]
fn transport<B: Bytes>(bytes: &B, tuple: Tuple, at: u32) -> Glance {
    match tuple.proto {
        TCP => {
            let Some(tuple) = ports(bytes, tuple, at) else {
                return Glance::Look;
            };
            let Some([s0, s1, s2, s3, a0, a1, a2, a3, _, flags]) = bytes.load::<[u8; 10]>(at + 4)
            else {
                return Glance::Look;
            };
            match flags & (Tcp::SYN | Tcp::RST | Tcp::ACK) {
                0 | Tcp::ACK => Glance::Segment {
                    tuple,
                    seq: u32::from_be_bytes([s0, s1, s2, s3]),
                },
                Tcp::SYN => Glance::Opens {
                    tuple,
                    isn: u32::from_be_bytes([s0, s1, s2, s3]),
                },
                SYN_ACK => Glance::Answer {
                    tuple,
                    isn: u32::from_be_bytes([a0, a1, a2, a3]).wrapping_sub(1),
                },
                _ => Glance::Look,
            }
        }
        // Echo is asked for and answered; everything below 128 is an error in ICMPv6.
        ICMP => match bytes.load::<[u8; 2]>(at) {
            Some([0 | 8 | 13 | 14, _]) => Glance::Nothing,
            _ => Glance::Look,
        },
        ICMPV6 => match bytes.load::<[u8; 2]>(at) {
            Some([128..=255, _]) => Glance::Nothing,
            _ => Glance::Look,
        },
        // IPv6 with extension headers.
        0 | 43 | 44 | 51 | 60 | 135 => Glance::Look,
        // A number is a tunnel's over IPv4 if it is one over IPv6.
        proto if Tunnel::of_protocol(proto, false).is_some() => Glance::Look,
        _ => Glance::Nothing,
    }
}

#[inline(always)]
fn is_dns(tuple: &Tuple) -> bool {
    tuple.sport == DNS_PORT || tuple.dport == DNS_PORT
}

#[inline(always)]
pub(super) fn is_tunnel(tuple: &Tuple) -> bool {
    matches!(Tunnel::of_port(tuple.dport), Some(tunnel) if tunnel.is_readable())
}

#[inline(always)]
pub(super) fn ports<B: Bytes>(bytes: &B, tuple: Tuple, at: u32) -> Option<Tuple> {
    let [s0, s1, d0, d1]: [u8; 4] = bytes.load(at)?;
    Some(Tuple {
        sport: u16::from_be_bytes([s0, s1]),
        dport: u16::from_be_bytes([d0, d1]),
        flags: Tuple::HAS_PORTS,
        ..tuple
    })
}
