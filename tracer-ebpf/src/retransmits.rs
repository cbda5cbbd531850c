//! A segment that a socket on this machine sends again: data that does not get through.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use tracer_common::{
    address::Address,
    event::{RetransmitEvent, held_flow, kind},
    packet::protocol,
    tuple::Tuple,
};

use crate::{
    held, kernel,
    maps::{FILTER, LAYOUT, asked_for, is_learned, send},
    skb::Skb,
};

/// `AF_INET` of the kernel's UAPI.
const AF_INET: u16 = 2;

/// Looks at one retransmission.
#[inline(always)]
pub(crate) fn observe(sk: u64, skb: Skb) -> Option<()> {
    let tuple = socket_tuple(sk)?;
    if !asked_for(&tuple) && !is_learned(&tuple) {
        return None;
    }
    let net: u64 = kernel::read(sk, &LAYOUT.sock_net)?;
    let netns: u32 = kernel::read(net, &LAYOUT.net_inode)?;
    if !FILTER.matches_netns(netns) {
        return None;
    }
    let private = skb.address() + LAYOUT.skb_cb.offset()? as u64;
    let state: u8 = kernel::read(sk, &LAYOUT.sock_state)?;
    let event = RetransmitEvent {
        kind: kind::RETRANSMIT,
        // SAFETY: the helper has no preconditions.
        at: unsafe { bpf_ktime_get_ns() },
        flow: tuple,
        netns,
        seq: kernel::read(private, &LAYOUT.tcp_cb_seq)?,
        len: skb.scalar(&LAYOUT.skb_len)?,
        mss: kernel::read(sk, &LAYOUT.tcp_mss)?,
        state: state.into(),
        reserved: 0,
    };
    held::release_flow(held_flow(&tuple), event.at);
    send(&event, size_of::<RetransmitEvent>(), &tuple, event.at);
    Some(())
}

/// The socket's flow, from its own address to its peer's.
#[inline(always)]
fn socket_tuple(sk: u64) -> Option<Tuple> {
    let family: u16 = kernel::read(sk, &LAYOUT.sock_family)?;
    let dport: [u8; 2] = kernel::read(sk, &LAYOUT.sock_dport)?;
    let (src, dst) = if family == AF_INET {
        (
            Address::v4(kernel::read(sk, &LAYOUT.sock_src_v4)?),
            Address::v4(kernel::read(sk, &LAYOUT.sock_dst_v4)?),
        )
    } else {
        (
            Address::v6(kernel::read(sk, &LAYOUT.sock_src_v6)?),
            Address::v6(kernel::read(sk, &LAYOUT.sock_dst_v6)?),
        )
    };
    Some(Tuple {
        src,
        dst,
        sport: kernel::read(sk, &LAYOUT.sock_sport)?,
        dport: u16::from_be_bytes(dport),
        proto: protocol::TCP,
        flags: Tuple::HAS_PORTS,
        reserved: [0; 2],
    })
}
