//! Where a packet was seen.

use tracer_common::event::{Sighted, direction};

/// Which way a packet passes an interface, seen from its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// An interface and a direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Network namespace, as inode number.
    pub netns: u32,
    /// Interface, unique within `netns`.
    pub ifindex: u32,
    /// Name of the interface.
    pub ifname: String,
    /// MTU of the interface, in bytes.
    pub mtu: u32,
    /// Into the namespace, or out of it.
    pub dir: Direction,
}

impl Place {
    /// The same interface, passed the other way.
    pub fn is_reverse_of(&self, other: &Self) -> bool {
        self.is_at(other) && self.dir != other.dir
    }

    /// The same interface, whichever way.
    pub fn is_at(&self, other: &Self) -> bool {
        (self.netns, self.ifindex) == (other.netns, other.ifindex)
    }
}

impl From<&Sighted> for Place {
    fn from(seen: &Sighted) -> Self {
        let end = seen.ifname.iter().position(|byte| *byte == 0);
        let name = &seen.ifname[..end.unwrap_or(seen.ifname.len())];
        Self {
            netns: seen.netns,
            ifindex: seen.ifindex,
            ifname: String::from_utf8_lossy(name).into_owned(),
            mtu: seen.mtu,
            dir: match seen.direction {
                direction::IN => Direction::In,
                _ => Direction::Out,
            },
        }
    }
}
