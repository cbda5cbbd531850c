//! A TCP connect that fails before a packet is sent.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    programs::FExitContext,
};
use tracer_common::{
    address::Address,
    event::{ConnectEvent, kind},
    packet::protocol,
    tuple::Tuple,
};

use crate::{
    kernel,
    maps::{FILTER, LAYOUT, asked_for, is_learned, send},
};

/// `AF_INET` and `AF_INET6` of the kernel's UAPI.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Lengths of `struct sockaddr_in`, and of `struct sockaddr_in6` without its scope (RFC 2133), which the
/// kernel takes, too.
const SOCKADDR_IN: i32 = 16;
const SOCKADDR_IN6: i32 = 24;
/// `int f(struct sock *sk, struct sockaddr *uaddr, int addr_len)`: behind its arguments is what it returns.
const RESULT: usize = 3;

/// Looks at a connect that a function of the kernel has let through or not. Nearly all are let through,
/// which is the first thing looked at.
#[inline(always)]
pub(crate) fn observe(ctx: &FExitContext, stage: u32) -> Option<()> {
    let result: i32 = ctx.arg(RESULT);
    if result >= 0 {
        return None;
    }
    let sk: u64 = ctx.arg(0);
    let flow = flow(sk, ctx.arg(1), ctx.arg(2))?;
    if !asked_for(&flow) && !is_learned(&flow) {
        return None;
    }
    let net: u64 = kernel::read(sk, &LAYOUT.sock_net)?;
    let netns: u32 = kernel::read(net, &LAYOUT.net_inode)?;
    if !FILTER.matches_netns(netns) {
        return None;
    }
    let event = ConnectEvent {
        kind: kind::CONNECT,
        // SAFETY: the helper has no preconditions.
        at: unsafe { bpf_ktime_get_ns() },
        flow,
        netns,
        errno: result.unsigned_abs(),
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        stage,
        mark: kernel::read(sk, &LAYOUT.sock_mark).unwrap_or(0),
        ifindex: kernel::read(sk, &LAYOUT.sock_bound_to).unwrap_or(0),
        comm: bpf_get_current_comm().unwrap_or_default(),
    };
    send(&event, size_of::<ConnectEvent>(), &flow, event.at);
    Some(())
}

/// Where the socket was to connect to. `None` if that is not a whole address, or one of another family: the
/// caller's mistake.
#[inline(always)]
fn flow(sk: u64, to: u64, len: i32) -> Option<Tuple> {
    let family: u16 = kernel::read_at(to)?;
    let port: [u8; 2] = kernel::read_at(to + 2)?;
    let (src, dst) = match family {
        AF_INET if len >= SOCKADDR_IN => (
            Address::v4(kernel::read(sk, &LAYOUT.sock_src_v4)?),
            Address::v4(kernel::read_at(to + 4)?),
        ),
        AF_INET6 if len >= SOCKADDR_IN6 => (
            Address::v6(kernel::read(sk, &LAYOUT.sock_src_v6)?),
            Address::v6(kernel::read_at(to + 8)?),
        ),
        _ => return None,
    };
    Some(Tuple {
        src,
        dst,
        sport: kernel::read(sk, &LAYOUT.sock_sport)?,
        dport: u16::from_be_bytes(port),
        proto: protocol::TCP,
        flags: Tuple::HAS_PORTS,
        reserved: [0; 2],
    })
}
