//! A connect that failed before it sent a packet.

use std::net::IpAddr;

use tracer_common::{
    event::{ConnectEvent, connect_stage},
    tuple::Tuple,
};

use crate::{kernel::connect_error::ConnectError, model::Flow};

/// A `connect(2)` of TCP that the kernel refused. There is no packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedConnect {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) at: u64,
    /// From the address and port that the socket is bound to, if it is, to the one that it was to connect
    /// to.
    pub(crate) flow: Tuple,
    /// The attempt, and its error.
    pub(crate) about: ConnectKind,
    /// The process.
    pub(crate) pid: u32,
}

/// What alike connects have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ConnectKind {
    /// The address that the socket is bound to; `None` if the kernel was to choose it.
    pub(crate) src: Option<IpAddr>,
    /// The local port that it is bound to; `None` if the kernel was to choose it.
    pub(crate) sport: Option<u16>,
    /// The address that it was to connect to.
    pub(crate) dst: IpAddr,
    /// The port there.
    pub(crate) dport: u16,
    /// The socket's network namespace, as inode number.
    pub(crate) netns: u32,
    /// The error that the process got.
    pub(crate) error: ConnectError,
    /// Whether a program of a control group has refused it.
    pub(crate) by_program: bool,
    /// The firewall mark of what the socket sends.
    pub(crate) mark: u32,
    /// The interface that the socket is bound to; 0 for none.
    pub(crate) ifindex: u32,
    /// The thread's name.
    pub(crate) comm: String,
}

impl FailedConnect {
    /// Reads one from the kernel's event.
    pub(crate) fn decode(event: &ConnectEvent) -> Self {
        let flow = Flow::from(&event.flow);
        let end = event.comm.iter().position(|byte| *byte == 0);
        let comm = &event.comm[..end.unwrap_or(event.comm.len())];
        Self {
            at: event.at,
            flow: event.flow,
            about: ConnectKind {
                src: Some(flow.src).filter(|src| !src.is_unspecified()),
                sport: flow.sport.filter(|port| *port != 0),
                dst: flow.dst,
                dport: flow.dport.unwrap_or_default(),
                netns: event.netns,
                error: ConnectError::new(event.errno.cast_signed()),
                by_program: event.stage == connect_stage::PROGRAMS,
                mark: event.mark,
                ifindex: event.ifindex,
                comm: String::from_utf8_lossy(comm).into_owned(),
            },
            pid: event.pid,
        }
    }

    /// The process, as `comm[pid]`.
    pub(crate) fn process(&self) -> String {
        format!("{}[{}]", self.about.comm, self.pid)
    }

    /// Whether healthy programs make it, too: they try IPv6 first, and then IPv4 where there is no IPv6
    /// (RFC 8305).
    pub(crate) fn is_noise(&self) -> bool {
        self.about.dst.is_ipv6() && self.about.error == ConnectError::NoRoute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn event() -> ConnectEvent {
        ConnectEvent {
            kind: tracer_common::event::kind::CONNECT,
            at: 7,
            flow: Tuple {
                src: IpAddr::from([0, 0, 0, 0]).into(),
                dst: IpAddr::from([10, 0, 0, 9]).into(),
                dport: 443,
                proto: 6,
                flags: Tuple::HAS_PORTS,
                ..Tuple::default()
            },
            netns: 4026531840,
            errno: 101,
            pid: 42,
            stage: connect_stage::CONNECT,
            mark: 0,
            ifindex: 0,
            comm: *b"curl\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        }
    }

    #[test]
    fn what_the_kernel_was_to_choose_is_not_known() {
        let failed = FailedConnect::decode(&event());
        assert_eq!((failed.about.src, failed.about.sport), (None, None));
        assert_eq!(failed.process(), "curl[42]");
        assert_eq!(failed.about.error.name(), Some("ENETUNREACH"));
        assert!(!failed.about.by_program && !failed.is_noise());
    }

    #[test]
    fn ipv6_without_a_route_is_tried_by_healthy_programs() {
        let mut event = event();
        event.flow.dst = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]).into();
        assert!(FailedConnect::decode(&event).is_noise());
        event.errno = 99;
        assert!(!FailedConnect::decode(&event).is_noise());
    }
}
