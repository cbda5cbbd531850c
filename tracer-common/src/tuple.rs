//! The 5-tuple.

use crate::address::Address;

/// A flow's 5-tuple, as one IP header and the start of its payload show it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Tuple {
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
    /// Source port, host byte order; 0 without [`Tuple::HAS_PORTS`].
    pub sport: u16,
    /// Destination port, host byte order; 0 without [`Tuple::HAS_PORTS`].
    pub dport: u16,
    /// IP protocol number, behind any IPv6 extension headers.
    pub proto: u8,
    /// [`Tuple::HAS_PORTS`] and [`Tuple::LATER_FRAGMENT`].
    pub flags: u8,
    /// Explicit, so that the bytes of equal tuples are equal: they are a map key.
    pub reserved: [u8; 2],
}

impl Tuple {
    /// The ports are known.
    pub const HAS_PORTS: u8 = 1;
    /// A fragment behind the first one: the protocol may have ports, this packet does not show them.
    pub const LATER_FRAGMENT: u8 = 2;

    /// Whether the ports are known.
    #[inline(always)]
    pub const fn has_ports(&self) -> bool {
        self.flags & Self::HAS_PORTS != 0
    }

    /// Whether this is a fragment without the transport header.
    #[inline(always)]
    pub const fn is_later_fragment(&self) -> bool {
        self.flags & Self::LATER_FRAGMENT != 0
    }

    /// The same flow seen from the other end.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            ..self
        }
    }
}
