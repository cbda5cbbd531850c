//! An XDP program that drops.

use std::{io, os::fd::OwnedFd};

use anyhow::{Context, Result};

use super::bpf::{self, Instruction};
use crate::lab::{Family, Namespace};

/// Where on the way in the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// After the driver, on any device.
    Generic,
}

/// Drops what comes in for a port, until this value goes.
pub struct XdpDrop {
    link: OwnedFd,
}

impl XdpDrop {
    /// What the program is called.
    pub const NAME: &str = "xdp_drop_port";

    /// Loads the program and attaches it to an interface.
    pub fn attach(
        namespace: &Namespace,
        ifname: &str,
        mode: XdpMode,
        family: Family,
        port: u16,
    ) -> Result<Self> {
        let program = bpf::load_named(Self::NAME, BPF_PROG_TYPE_XDP, &program(family, port))
            .context("cannot load the XDP program")?;
        let link = namespace.enter(|| {
            let ifindex = nix::net::if_::if_nametoindex(ifname)?;
            link(&program, ifindex, mode)
        });
        Ok(Self {
            link: link.with_context(|| format!("cannot attach to {ifname}"))?,
        })
    }
}

impl Drop for XdpDrop {
    fn drop(&mut self) {
        // Fails where the interface has gone, and the program with it.
        let _ = bpf::detach(&self.link);
    }
}

fn program(family: Family, port: u16) -> [Instruction; 11] {
    // The destination port, from the Ethernet header; neither options nor extensions.
    let offset: i16 = family.pick(36, 56);
    let port = i32::from(port.to_be());
    [
        (0x61, 0x12, 4, 0),                     // r2 = ctx->data_end
        (0x61, 0x11, 0, 0),                     // r1 = ctx->data
        (0xbf, 0x13, 0, 0),                     // r3 = r1
        (0x07, 0x03, 0, i32::from(offset) + 2), // r3 += offset + 2
        (0x2d, 0x23, 4, 0),                     // if r3 > r2 goto pass
        (0x69, 0x11, offset, 0),                // r1 = *(u16 *)(r1 + offset)
        (0x55, 0x01, 2, port),                  // if r1 != port goto pass
        (0xb7, 0x00, 0, 1),                     // r0 = XDP_DROP
        (0x95, 0x00, 0, 0),                     // exit
        (0xb7, 0x00, 0, 2),                     // pass: r0 = XDP_PASS
        (0x95, 0x00, 0, 0),                     // exit
    ]
}

const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

fn link(program: &OwnedFd, ifindex: u32, mode: XdpMode) -> io::Result<OwnedFd> {
    let flags = match mode {
        XdpMode::Native => XDP_FLAGS_DRV_MODE,
        XdpMode::Generic => XDP_FLAGS_SKB_MODE,
    };
    bpf::link(program, ifindex, BPF_XDP, flags)
}
