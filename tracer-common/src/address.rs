//! IP addresses of both families in one fixed form.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::patched;

/// An IPv6 address, or an IPv4 address in its IPv4-mapped form (RFC 4291, section 2.5.5.2).
///
/// The words hold the address' bytes as they stand in a packet (network byte order); only equality
/// and masking make sense on them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Address {
    words: [u32; 4],
}

/// The third word of every IPv4-mapped address: `00 00 ff ff`.
const V4_MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Address {
    /// `::`, which matches nothing that a packet carries.
    pub const UNSPECIFIED: Self = Self { words: [0; 4] };

    /// An IPv4 address from its four bytes as they stand in the packet.
    #[inline(always)]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self {
            words: [0, 0, V4_MAPPED, u32::from_ne_bytes(bytes)],
        }
    }

    /// An IPv6 address from its sixteen bytes as they stand in the packet.
    #[inline(always)]
    pub const fn v6(b: [u8; 16]) -> Self {
        Self {
            words: [
                u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
                u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
                u32::from_ne_bytes([b[8], b[9], b[10], b[11]]),
                u32::from_ne_bytes([b[12], b[13], b[14], b[15]]),
            ],
        }
    }

    /// The mask of a prefix. `bits` counts within the address' own family (0 to 32, or 0 to 128).
    pub fn mask(ip: IpAddr, bits: u8) -> Self {
        let bits = match ip {
            IpAddr::V4(_) => 96 + u32::from(bits.min(32)),
            IpAddr::V6(_) => u32::from(bits.min(128)),
        };
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        Self::v6(mask.to_be_bytes())
    }

    /// Whether the address lies in `network` under `mask`, both of which may be in `.rodata`.
    #[inline(always)]
    pub fn is_in(&self, network: &Self, mask: &Self) -> bool {
        // The last word differs most often: IPv4 has no other of its own.
        for index in [3, 2, 1, 0] {
            let difference = self.words[index] ^ patched(&network.words[index]);
            if difference & patched(&mask.words[index]) != 0 {
                return false;
            }
        }
        true
    }

    /// Whether an address with this last word may lie in this network under `mask`.
    #[inline(always)]
    pub(crate) fn may_hold(&self, mask: &Self, word: u32) -> bool {
        (patched(&self.words[3]) ^ word) & patched(&mask.words[3]) == 0
    }

    /// Whether this network under `mask` holds an address of the same family as `other`.
    #[inline(always)]
    pub(crate) fn may_have_family_of(&self, mask: &Self, other: &Self) -> bool {
        let is_v4 = |address: &Self| {
            address.words[0] | address.words[1] == 0 && address.words[2] == V4_MAPPED
        };
        let wanted = [0, 0, V4_MAPPED];
        let may_be_v4 = (0..3).all(|index| {
            (patched(&self.words[index]) ^ wanted[index]) & patched(&mask.words[index]) == 0
        });
        let must_be_v4 = may_be_v4 && (0..3).all(|index| patched(&mask.words[index]) == u32::MAX);
        if is_v4(other) { may_be_v4 } else { !must_be_v4 }
    }

    /// The network that the address is of: the first 24 bits of IPv4, the first 64 of IPv6.
    #[inline(always)]
    pub(crate) fn network(&self) -> u64 {
        const FIRST_THREE: u32 = u32::from_ne_bytes([0xff, 0xff, 0xff, 0]);
        let [a, b, c, d] = self.words;
        if a | b == 0 && c == V4_MAPPED {
            u64::from(d & FIRST_THREE)
        } else {
            u64::from(a) << 32 | u64::from(b)
        }
    }

    /// The last eight bytes, which say all of IPv4: for hashing.
    #[inline(always)]
    pub(crate) fn low(&self) -> u64 {
        let [.., c, d] = self.words;
        u64::from(c) << 32 | u64::from(d)
    }

    /// The address' sixteen bytes, IPv4 in its mapped form.
    pub const fn octets(&self) -> [u8; 16] {
        let [a, b, c, d] = self.words;
        let [a, b, c, d] = [
            a.to_ne_bytes(),
            b.to_ne_bytes(),
            c.to_ne_bytes(),
            d.to_ne_bytes(),
        ];
        [
            a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1],
            d[2], d[3],
        ]
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::v4(ip.octets()),
            IpAddr::V6(ip) => Self::v6(ip.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.words[..3] == [0, 0, V4_MAPPED] {
            Self::V4(Ipv4Addr::from(address.words[3].to_ne_bytes()))
        } else {
            Self::V6(Ipv6Addr::from(address.octets()))
        }
    }
}

impl core::fmt::Debug for Address {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_families_survive_the_round_trip(ip: IpAddr) {
            // An IPv4-mapped IPv6 address and its IPv4 address are the same thing here.
            prop_assert_eq!(IpAddr::from(Address::from(ip)), ip.to_canonical());
        }

        #[test]
        fn a_prefix_holds_exactly_its_addresses(network: u32, other: u32, bits in 0u8..=32) {
            let ip = IpAddr::V4(network.into());
            let mask = Address::mask(ip, bits);
            let inside = bits == 0 || network >> (32 - u32::from(bits)) == other >> (32 - u32::from(bits));
            let other = Address::from(IpAddr::V4(other.into()));
            prop_assert_eq!(other.is_in(&Address::from(ip), &mask), inside);
        }
    }

    #[test]
    fn an_ipv4_prefix_of_zero_bits_holds_no_ipv6_address() {
        let any4: IpAddr = "0.0.0.0".parse().unwrap();
        let v6 = Address::from("fd00::1".parse::<IpAddr>().unwrap());
        assert!(!v6.is_in(&Address::from(any4), &Address::mask(any4, 0)));
    }
}
