//! Another tool's programs in the TCX chain of an interface (since 6.6).

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};

use super::{Direction, bpf};
use crate::lab::{Family, Namespace};

const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_F_BEFORE: u32 = 1 << 3;
/// `TCX_DROP` and `TCX_NEXT`.
const DROP: i32 = 2;
const NEXT: i32 = -1;

/// Where in the chain a program is to stand when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Before all others.
    First,
    /// Behind all others.
    Last,
}

/// A program that drops what goes to a port, until this value goes.
pub struct TcxDrop {
    _link: OwnedFd,
}

impl TcxDrop {
    /// What the program is called.
    pub const NAME: &str = "tcx_drop_port";

    /// Loads the program and attaches it to an interface.
    pub fn attach(
        namespace: &Namespace,
        ifname: &str,
        direction: Direction,
        position: Position,
        family: Family,
        port: u16,
    ) -> Result<Self> {
        let at = (ifname, direction, position);
        Self::attach_as(Self::NAME, namespace, at, family, port)
    }

    /// The same by another name, as of a policy engine's program.
    pub fn attach_as(
        name: &str,
        namespace: &Namespace,
        (ifname, direction, position): (&str, Direction, Position),
        family: Family,
        port: u16,
    ) -> Result<Self> {
        // From the Ethernet header; neither options nor extensions.
        let destination_port = family.pick(36, 56);
        let program = bpf::load_named(
            name,
            BPF_PROG_TYPE_SCHED_CLS,
            &[
                (0xbf, 0x16, 0, 0),                // r6 = r1
                (0x28, 0x00, 0, destination_port), // r0 = the port, host byte order
                (0x55, 0x00, 2, i32::from(port)),  // if r0 != port goto next
                (0xb7, 0x00, 0, DROP),             // r0 = TCX_DROP
                (0x95, 0x00, 0, 0),                // exit
                (0xb7, 0x00, 0, NEXT),             // next: r0 = TCX_NEXT
                (0x95, 0x00, 0, 0),                // exit
            ],
        )
        .context("cannot load the tc program")?;
        let flags = match position {
            Position::First => BPF_F_BEFORE,
            Position::Last => 0,
        };
        let link = namespace.enter(|| {
            let ifindex = nix::net::if_::if_nametoindex(ifname)?;
            bpf::link(&program, ifindex, attach_type(direction), flags)
        });
        Ok(Self {
            _link: link.with_context(|| format!("cannot attach to {ifname}"))?,
        })
    }
}

/// The ids of the programs in the chain of an interface, in the order in which they run.
pub fn tcx_programs(namespace: &Namespace, ifname: &str, direction: Direction) -> Result<Vec<u32>> {
    let found = namespace.enter(|| {
        let ifindex = nix::net::if_::if_nametoindex(ifname)?;
        bpf::programs(ifindex, attach_type(direction))
    });
    found.with_context(|| format!("cannot list the programs at {ifname}"))
}

fn attach_type(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => BPF_TCX_INGRESS,
        Direction::Egress => BPF_TCX_EGRESS,
    }
}
