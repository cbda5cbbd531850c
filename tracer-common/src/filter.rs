//! Which connection is looked at.
//!
//! The loader writes one [`Filter`] into the kernel programs' `.rodata`. The verifier sees its
//! fields as constants and removes the code of whatever the filter does not ask for.
//!
//! An end that goes by name is a set of addresses and ports, which changes while the programs run.
//! It is in a map, of which [`Member`] is the key: a filter without a name never looks into it.

use crate::{
    address::Address,
    packet::{DNS_PORT, End, Ends, protocol},
    patched,
    tuple::Tuple,
};

/// How many network namespaces can be asked for at once.
pub const MAX_NETNS: usize = 16;

/// A connection, both directions of it, and the network namespaces to look into.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One end of the connection.
    pub to: Side,
    /// The other end.
    pub from: Side,
    /// IP protocol number, 0 for any. [`protocol::ICMP`] stands for ICMPv6 too.
    pub proto: u32,
    /// How many entries of `netns` count; 0 is the whole node.
    pub netns_len: u32,
    /// Network namespaces, as inode numbers.
    pub netns: [u32; MAX_NETNS],
}

/// What one end of a connection must look like.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// The address, for [`kind::PREFIX`].
    pub address: Address,
    /// Which of its bits count.
    pub mask: Address,
    /// What the addresses are: one of [`kind`].
    pub kind: u32,
    /// Port in host byte order; 0 for any. The ports of a set are in the set.
    pub port: u32,
}

/// What the addresses of a [`Side`] are.
pub mod kind {
    /// Any.
    pub const ANY: u32 = 0;
    /// Those under a prefix.
    pub const PREFIX: u32 = 1;
    /// Those in the set of this side.
    pub const SET: u32 = 2;
}

/// Key of an entry of a set. An address has one entry without port, whose value is one of [`ports`],
/// and one entry for each of its ports if only these belong to the set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The address.
    pub address: Address,
    /// Port in host byte order; 0 for the address' own entry.
    pub port: u16,
    /// Whose set it is: [`Member::TO`] or [`Member::FROM`].
    pub side: u16,
}

impl Member {
    /// Of the set of [`Filter::to`].
    pub const TO: u16 = 0;
    /// Of the set of [`Filter::from`].
    pub const FROM: u16 = 1;
}

/// Which ports of an address belong to a set: the value of the address' own entry.
pub mod ports {
    /// Those that have entries of their own.
    pub const LISTED: u32 = 0;
    /// All.
    pub const ALL: u32 = 1;
}

impl Filter {
    /// Whether the tuple is one of the connection's, in either direction. `find` gives the value of
    /// a set's entry, and is asked only for sides that are sets.
    ///
    /// Not inlined, for the same reason as [`crate::packet::read_layer`].
    #[inline(never)]
    pub fn matches(&self, tuple: &Tuple, find: impl Fn(&Member) -> Option<u32>) -> bool {
        self.matches_here(tuple, find)
    }

    /// The same, inlined: for the first look at a packet, which has the stack to itself.
    #[inline(always)]
    pub fn matches_here(&self, tuple: &Tuple, find: impl Fn(&Member) -> Option<u32>) -> bool {
        let forwards = [(&tuple.src, tuple.sport), (&tuple.dst, tuple.dport)];
        let backwards = [forwards[1], forwards[0]];
        self.matches_protocol(tuple.proto)
            && (self.matches_ends(tuple, forwards, &find)
                || self.matches_ends(tuple, backwards, &find))
    }

    /// Whether no segment with these ends matches, for certain.
    #[inline(always)]
    pub fn excludes(&self, ends: &Ends) -> bool {
        let Ends { src, dst, .. } = ends;
        let may_match = (self.to.may_be(dst) && self.from.may_be(src))
            || (self.to.may_be(src) && self.from.may_be(dst));
        !(may_match && self.matches_protocol(protocol::TCP))
    }

    /// Whether a packet that does not match may do so when NAT has changed it: NAT changes neither the
    /// protocol nor the family.
    #[inline(always)]
    pub fn may_match_behind_nat(&self, tuple: &Tuple) -> bool {
        let family = |side: &Side| side.may_have_family_of(&tuple.dst);
        self.matches_protocol(tuple.proto) && family(&self.to) && family(&self.from)
    }

    /// Whether it may ask for DNS over UDP, so that packets which NAT leads to another port are of interest.
    #[inline(always)]
    pub fn may_be_of_dns(&self) -> bool {
        const DNS: u32 = DNS_PORT as u32;
        let to_dns = matches!(patched(&self.to.port), 0 | DNS);
        match self.protocol() {
            protocol::UDP => true,
            0 => to_dns || patched(&self.from.port) == DNS,
            _ => false,
        }
    }

    /// The protocol that is asked for, 0 for any: a packet with it passes for one.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        patched(&self.proto) as u8
    }

    /// Whether the network namespace is looked at.
    #[inline(always)]
    pub fn matches_netns(&self, inode: u32) -> bool {
        let len = patched(&self.netns_len);
        if len == 0 {
            return true;
        }
        for (index, wanted) in self.netns.iter().enumerate() {
            if index as u32 >= len {
                break;
            }
            if patched(wanted) == inode {
                return true;
            }
        }
        false
    }

    #[inline(always)]
    fn matches_protocol(&self, proto: u8) -> bool {
        let wanted = patched(&self.proto);
        wanted == 0
            || wanted == u32::from(proto)
            || (wanted == u32::from(protocol::ICMP) && proto == protocol::ICMPV6)
    }

    #[inline(always)]
    fn matches_ends(
        &self,
        tuple: &Tuple,
        [from, to]: [(&Address, u16); 2],
        find: &impl Fn(&Member) -> Option<u32>,
    ) -> bool {
        self.to.matches(tuple, to, Member::TO, find)
            && self.from.matches(tuple, from, Member::FROM, find)
    }
}

impl Side {
    /// Whether an address of the same family as this one may be an end.
    #[inline(always)]
    fn may_have_family_of(&self, address: &Address) -> bool {
        patched(&self.kind) != kind::PREFIX || self.address.may_have_family_of(&self.mask, address)
    }

    #[inline(always)]
    fn may_be(&self, end: &End) -> bool {
        let port = patched(&self.port);
        (port == 0 || port == u32::from(end.port))
            && (patched(&self.kind) != kind::PREFIX || self.address.may_hold(&self.mask, end.word))
    }

    #[inline(always)]
    fn matches(
        &self,
        tuple: &Tuple,
        (address, port): (&Address, u16),
        side: u16,
        find: &impl Fn(&Member) -> Option<u32>,
    ) -> bool {
        let wanted = patched(&self.port);
        if wanted != 0 {
            // A later fragment hides its ports: it matches by address alone.
            let port_matches = tuple.has_ports() && wanted == u32::from(port);
            if !port_matches && !tuple.is_later_fragment() {
                return false;
            }
        }
        match patched(&self.kind) {
            kind::ANY => true,
            kind::PREFIX => address.is_in(&self.address, &self.mask),
            _ => is_member(tuple, address, port, side, find),
        }
    }
}

/// Whether an end of the tuple is in the set of a side. Most are not, which takes one question.
#[inline(always)]
fn is_member(
    tuple: &Tuple,
    address: &Address,
    port: u16,
    side: u16,
    find: &impl Fn(&Member) -> Option<u32>,
) -> bool {
    let mut member = Member {
        address: *address,
        port: 0,
        side,
    };
    match find(&member) {
        None => return false,
        Some(ports::ALL) => return true,
        Some(_) => {}
    }
    if tuple.is_later_fragment() {
        return true;
    }
    member.port = port;
    tuple.has_ports() && port != 0 && find(&member).is_some()
}

/// The network namespaces whose interfaces are watched, for programs that see those of all.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Inode numbers; 0 stands for none.
    pub netns: [u32; MAX_NETNS],
}

impl Watched {
    /// None of them.
    pub const NOTHING: Self = Self {
        netns: [0; MAX_NETNS],
    };

    /// Whether this namespace is one of them. To the verifier the list is constant, so that its
    /// unused part costs nothing.
    #[inline(always)]
    pub fn contains(&self, inode: u32) -> bool {
        for wanted in &self.netns {
            let wanted = patched(wanted);
            if wanted == 0 {
                return false;
            }
            if wanted == inode {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
