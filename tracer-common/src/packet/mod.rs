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
mod ip;
mod tcp;
mod transport;

#[cfg(test)]
mod tests;

pub use self::{
    bytes::{Bytes, Plain},
    tcp::{Tcp, tcp},
    transport::{GENEVE_PORT, VXLAN_PORTS},
};
use crate::tuple::Tuple;

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
    /// The tuple that an ICMP error speaks of, the innermost one.
    pub quoted: Option<Tuple>,
}

/// Follows the layers of the packet whose network header is at offset 0, and shows each tuple to
/// `seen` on the way. `None` if not even the first header can be read.
///
/// A tunnel or quote that cannot be read ends the chain at the last layer that could.
#[inline(always)]
pub fn headers<B: Bytes>(bytes: &B, mut seen: impl FnMut(&Tuple)) -> Option<Headers> {
    let first = layer(bytes, 0)?;
    seen(&first.tuple);
    let mut headers = Headers { flow: first, outer: None, quoted: None };
    let mut next = first.next;
    for _ in 1..MAX_LAYERS {
        let (at, quoted) = match next {
            Next::Nothing => break,
            Next::Inner(at) => (at, headers.quoted.is_some()),
            Next::Quoted(at) => (at, true),
        };
        let Some(layer) = layer(bytes, at) else { break };
        seen(&layer.tuple);
        next = layer.next;
        if quoted {
            headers.quoted = Some(layer.tuple);
        } else {
            headers.outer = Some(first.tuple);
            headers.flow = layer;
        }
    }
    Some(headers)
}

/// Reads the IP header at `at` and the start of what it carries.
#[inline(always)]
pub fn layer<B: Bytes>(bytes: &B, at: u32) -> Option<Layer> {
    let header = ip::header(bytes, at)?;
    Some(transport::layer(bytes, &header))
}
