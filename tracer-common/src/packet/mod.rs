//! The packet parser: from the network header up, through tunnels and ICMP quotes.
//!
//! It never trusts the skb's `transport_header` (it is unset or stale in many drops) and never
//! indexes: every header is a bounds-checked load through [`Bytes`], so no input can make it panic
//! or read beyond the packet. A packet is a chain of [`Layer`]s, each with its own tuple:
//!
//! ```text
//! IP UDP/VXLAN  →  IP TCP                 encapsulated: `outer`, then `flow`
//! IP ICMP error  →  quoted IP TCP         quoted: `flow` is the ICMP packet, `quoted` what it speaks of
//! ```

mod bytes;
mod ends;
mod glance;
mod ip;
mod plain;
mod solicited;
mod tcp;
mod transport;
mod vni;

#[cfg(test)]
mod tests;

use self::vni::vni;
pub use self::{
    bytes::{Bytes, Plain},
    ends::{End, Ends, segment_ends_v4, segment_ends_v6},
    glance::{DNS_PORT, Glance, glance, glance_v4, glance_v6},
    plain::{PLAIN_V4, PLAIN_V6, plain},
    solicited::solicited,
    tcp::{Tcp, tcp},
};
use crate::{address::Address, tuple::Tuple};

/// IP protocol numbers that the parser knows (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    #![allow(missing_docs, reason = "the names are the standard's")]
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const DCCP: u8 = 33;
    pub const IPV6: u8 = 41;
    pub const GRE: u8 = 47;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
    pub const UDPLITE: u8 = 136;
}

/// How many layers are followed. Four hold an ICMP error about a VXLAN packet, itself inside VXLAN.
const MAX_LAYERS: usize = 4;

/// One IP header and the start of what it carries. Offsets are bytes from the start of [`Bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The 5-tuple.
    pub tuple: Tuple,
    /// Where the transport header starts.
    pub transport_at: u32,
    /// Where the packet ends, by the IP header's own length.
    pub end_at: u32,
    /// ICMP or ICMPv6 type and code; 0 for other protocols.
    pub icmp: [u8; 2],
    /// What follows.
    pub next: Next,
}

impl Layer {
    /// No packet at all.
    pub const EMPTY: Self = Self {
        tuple: Tuple {
            src: Address::UNSPECIFIED,
            dst: Address::UNSPECIFIED,
            sport: 0,
            dport: 0,
            proto: 0,
            flags: 0,
            reserved: [0; 2],
        },
        transport_at: 0,
        end_at: 0,
        icmp: [0; 2],
        next: Next::Nothing,
    };
}

/// What a layer carries, as far as it is another IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// No further IP packet.
    Nothing,
    /// A tunnelled packet, whose IP header starts here.
    Inner(u32),
    /// The packet that an ICMP error quotes; its IP header starts here.
    Quoted(u32),
}

/// What the chain of layers comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The innermost packet that is really travelling (not a quoted one).
    pub flow: Layer,
    /// The outermost tuple, if `flow` is encapsulated.
    pub outer: Option<Tuple>,
    /// The network identifier of the tunnel that it is encapsulated in, if that has one.
    pub vni: Option<u32>,
    /// The packet that an ICMP error speaks of, the innermost one.
    pub quoted: Option<Layer>,
}

/// How a layer came to be in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is travelling: the packet itself, or what it encapsulates.
    Travelling,
    /// An ICMP error quotes it.
    Quoted,
}

/// Follows the layers of the packet whose network header is at offset 0, and shows each of them to
/// `visit`, outermost first. `false` if not even the first header can be read.
///
/// A tunnel or quote that cannot be read ends the chain at the last layer that could. `layer` is
/// only room to work in: a BPF program has little on its stack.
#[inline(always)]
pub fn walk<B: Bytes>(bytes: &B, layer: &mut Layer, mut visit: impl FnMut(Role, &Layer)) -> bool {
    let mut at = 0;
    let mut role = Role::Travelling;
    for depth in 0..MAX_LAYERS {
        if !read_layer(bytes, at, layer) {
            return depth > 0;
        }
        visit(role, layer);
        match layer.next {
            Next::Nothing => break,
            Next::Inner(inner) => at = inner,
            Next::Quoted(quoted) => (at, role) = (quoted, Role::Quoted),
        }
    }
    true
}

/// What the whole chain comes to; `None` if not even the first header can be read.
pub fn headers<B: Bytes>(bytes: &B) -> Option<Headers> {
    let mut found: Option<Headers> = None;
    walk(bytes, &mut { Layer::EMPTY }, |role, layer| {
        match (&mut found, role) {
            (None, _) => {
                found = Some(Headers {
                    flow: *layer,
                    outer: None,
                    vni: None,
                    quoted: None,
                });
            }
            (Some(headers), Role::Travelling) => {
                if headers.outer.is_none() {
                    headers.outer = Some(headers.flow.tuple);
                    headers.vni = vni(bytes, &headers.flow);
                }
                headers.flow = *layer;
            }
            (Some(headers), Role::Quoted) => headers.quoted = Some(*layer),
        }
    });
    found
}

/// Reads the IP header at `at` and the start of what it carries into `layer`. `false` if it cannot
/// be read; then `layer` holds nothing of use.
///
/// Not inlined: in a BPF program each inlined copy would take its own share of the 512-byte stack.
#[inline(never)]
pub fn read_layer<B: Bytes>(bytes: &B, at: u32, layer: &mut Layer) -> bool {
    let readable = ip::read(bytes, at, layer).is_some();
    if readable && !layer.tuple.is_later_fragment() {
        transport::read(bytes, layer);
    }
    readable
}
