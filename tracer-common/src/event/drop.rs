//! A dropped packet: what it is counted under, and the event that tells of it.

use core::mem::offset_of;

use super::CAPTURE_LEN;
use crate::{patched, tuple::Tuple};

/// Frames of the kernel stack that an event carries, innermost first.
pub const STACK_DEPTH: usize = 40;

/// What makes two drops alike: they are counted together, exactly, in the kernel.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct DropKey {
    /// The flow, inside of any tunnel.
    pub flow: Tuple,
    /// Address of the code that freed the skb.
    pub location: u64,
    /// Value of the running kernel's `enum skb_drop_reason`.
    pub reason: u32,
    /// Network namespace, as inode number; 0 if unknown.
    pub netns: u32,
    /// Interface, unique within `netns`; 0 if unknown.
    pub ifindex: u32,
    /// TCP flags; 0 for other protocols.
    pub tcp_flags: u8,
    /// 1 if the packet carries TCP payload.
    pub has_payload: u8,
    /// ICMP or ICMPv6 type; 0 for other protocols.
    pub icmp_type: u8,
    /// Explicit padding.
    pub reserved: u8,
}

/// The exact count of one [`DropKey`], and what bounds its events.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct DropCount {
    /// Packets dropped.
    pub count: u64,
    /// Start of the current second of showing, nanoseconds of `CLOCK_MONOTONIC`.
    pub window: u64,
    /// Events sent in the current second.
    pub sent: u64,
}

/// What conntrack has said of a packet: [`DropEvent::ct`].
pub mod ct {
    /// `enum ip_conntrack_info`, the lowest bits of `skb->_nfct` (`NFCT_INFOMASK` in the kernel).
    pub const INFO: u32 = 7;
    /// The packet has an entry.
    pub const ENTRY: u32 = 8;
    /// `IPS_SRC_NAT` of the kernel's UAPI (include/uapi/linux/netfilter/nf_conntrack_common.h), in
    /// the entry's own status.
    pub const SRC_NAT: u32 = 1 << 4;
    /// `IPS_DST_NAT`, likewise.
    pub const DST_NAT: u32 = 1 << 5;
    /// `skb->_nfct` could be read; without this bit nothing is known.
    pub const READ: u32 = 16;
    /// The entry's own status could be read; its lower bits are behind [`STATUS_SHIFT`].
    pub const STATUS: u32 = 32;
    /// Where the entry's status begins.
    pub const STATUS_SHIFT: u32 = 8;
    /// `IPS_CONFIRMED`: the entry is in the table, so that other packets may have made it.
    pub const CONFIRMED: u32 = 1 << 3;
    /// `IPS_SRC_NAT_DONE`: the translation of the source was decided on, be it to none.
    pub const SRC_NAT_DONE: u32 = 1 << 7;
    /// `IPS_DST_NAT_DONE`, likewise.
    pub const DST_NAT_DONE: u32 = 1 << 8;
}

/// One dropped packet, as sent through the ring buffer: what is not in use at its end is left out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DropEvent {
    /// [`kind::DROP`](super::kind::DROP).
    pub kind: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// What it is counted under.
    pub key: DropKey,
    /// The key's exact count at this packet, itself included; 0 where the counting map had no room for
    /// the key: it is counted by [`tally::UNCOUNTED`](super::tally::UNCOUNTED).
    pub count: u64,
    /// Conntrack's original tuple; all zero if the packet has no conntrack entry.
    pub original: Tuple,
    /// Conntrack's tuple of the answers, as they come in; all zero likewise.
    pub reply: Tuple,
    /// Bytes of `stack` in use; negative is the error of `bpf_get_stack`.
    pub stack_bytes: i64,
    /// Bytes from the network header to the end, paged ones included; all segments of a GSO packet.
    pub len: u32,
    /// TCP payload of each segment of a GSO packet; 0 otherwise.
    pub gso_size: u32,
    /// MTU of the interface in `key`; 0 if there is none.
    pub mtu: u32,
    /// The firewall mark.
    pub mark: u32,
    /// Ifindex of the interface the packet came in through; 0 for local output.
    pub iif: u32,
    /// The thread on the CPU; meaningful where the drop is made in process context only.
    pub pid: u32,
    /// That thread's name, NUL-padded.
    pub comm: [u8; 16],
    /// Name of the interface in `key`, NUL-padded.
    pub ifname: [u8; 16],
    /// How `key.netns` was found.
    pub netns_from: u32,
    /// What conntrack has said of it, as [`ct`] has it.
    pub ct: u32,
    /// Ifindex of the interface that its route leads to; 0 if it has no route yet.
    pub oif: u32,
    /// Bytes of `capture` in use.
    pub capture_len: u32,
    /// Explicit padding.
    pub reserved: [u8; 2],
    /// Destination MAC address; all zero where it is not known. This and what follows stand as they
    /// do in a frame, so that one copy fetches them all.
    pub dst_mac: [u8; 6],
    /// Source MAC address, likewise.
    pub src_mac: [u8; 6],
    /// EtherType, likewise.
    pub ethertype: [u8; 2],
    /// The packet, from the network header up.
    pub capture: [u8; CAPTURE_LEN],
    /// The kernel stack, innermost first.
    pub stack: [u64; STACK_DEPTH],
}

/// Which drops carry the kernel stack. Walking it costs more than all else of an event.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackPolicy {
    /// Not 0: all of them.
    pub always: u32,
    /// These reasons do not say enough without it. 0 stands for none.
    pub reasons: [u32; 4],
}

impl StackPolicy {
    /// Whether a drop for this reason carries it.
    #[inline(always)]
    pub fn wants(&self, reason: u32) -> bool {
        patched(&self.always) != 0
            || (reason != 0 && self.reasons.iter().any(|wanted| patched(wanted) == reason))
    }
}

/// How the network namespace of an skb was found, best first.
pub mod netns_from {
    /// It could not be found.
    pub const NOTHING: u32 = 0;
    /// From `skb->dev`.
    pub const DEVICE: u32 = 1;
    /// From the output device of its route.
    pub const ROUTE: u32 = 2;
    /// From the socket that owns the skb: after the first veth hop, still the sender's.
    pub const SOCKET: u32 = 3;
    /// From the socket that received it.
    pub const RECEIVER: u32 = 4;
}

impl DropEvent {
    /// How many bytes of it are in use. The stack is at the end; most have none.
    #[inline(always)]
    pub fn sent_len(&self) -> usize {
        if self.stack_bytes > 0 {
            offset_of!(Self, stack) + (self.stack_bytes as usize).min(size_of_val(&self.stack))
        } else {
            offset_of!(Self, capture) + (self.capture_len as usize).min(CAPTURE_LEN)
        }
    }

    /// The captured bytes of the packet.
    pub fn captured(&self) -> &[u8] {
        &self.capture[..(self.capture_len as usize).min(CAPTURE_LEN)]
    }

    /// Return addresses of the kernel stack, innermost first.
    pub fn frames(&self) -> &[u64] {
        let frames = usize::try_from(self.stack_bytes).unwrap_or(0) / size_of::<u64>();
        &self.stack[..frames.min(STACK_DEPTH)]
    }
}
