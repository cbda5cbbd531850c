//! A TCP connect that failed before it sent a packet.

use crate::tuple::Tuple;

/// A `connect(2)` that the kernel refused: there is no SYN.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ConnectEvent {
    /// [`kind::CONNECT`](super::kind::CONNECT).
    pub kind: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// From the address that the socket is bound to, or none, to the one that it was to connect to.
    pub flow: Tuple,
    /// The socket's network namespace, as inode number.
    pub netns: u32,
    /// The error that the process gets, as a positive number of errno(3).
    pub errno: u32,
    /// The process.
    pub pid: u32,
    /// Which function of the kernel refused it: one of [`connect_stage`].
    pub stage: u32,
    /// The firewall mark of what the socket sends.
    pub mark: u32,
    /// The interface that the socket is bound to; 0 for none.
    pub ifindex: u32,
    /// The thread's name.
    pub comm: [u8; 16],
}

/// Which function of the kernel refused a connect.
pub mod connect_stage {
    /// `tcp_v4_pre_connect` or `tcp_v6_pre_connect`: the programs of the process's control groups
    /// (`BPF_CGROUP_INET4_CONNECT` and `BPF_CGROUP_INET6_CONNECT`).
    pub const PROGRAMS: u32 = 1;
    /// `tcp_v4_connect` or `tcp_v6_connect`: the route, or the choice of a local port.
    pub const CONNECT: u32 = 2;
}
