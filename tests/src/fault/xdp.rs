//! An XDP program that drops, loaded and attached through `bpf(2)` itself: a dozen instructions
//! need no compiler and no loader.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context, Result};

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
    _link: OwnedFd,
}

impl XdpDrop {
    /// Loads the program and attaches it to an interface.
    pub fn attach(
        namespace: &Namespace,
        ifname: &str,
        mode: XdpMode,
        family: Family,
        port: u16,
    ) -> Result<Self> {
        let program = load(&program(family, port)).context("cannot load the XDP program")?;
        let link = namespace.enter(|| {
            let ifindex = nix::net::if_::if_nametoindex(ifname)?;
            link(&program, ifindex, mode)
        });
        Ok(Self {
            _link: link.with_context(|| format!("cannot attach to {ifname}"))?,
        })
    }
}

/// One instruction: opcode, registers (source above destination), offset, immediate.
type Instruction = (u8, u8, i16, i32);

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

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// The head of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let code: Vec<u8> = program
        .iter()
        .flat_map(|(opcode, registers, offset, immediate)| {
            let mut bytes = [0; 8];
            bytes[0] = *opcode;
            bytes[1] = *registers;
            bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
            bytes[4..].copy_from_slice(&immediate.to_ne_bytes());
            bytes
        })
        .collect();
    let attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    // SAFETY: `attr` is the beginning of a `bpf_attr` for this command, and what it points to
    // outlives the call.
    unsafe { bpf(BPF_PROG_LOAD, &attr) }
}

fn link(program: &OwnedFd, ifindex: u32, mode: XdpMode) -> io::Result<OwnedFd> {
    let attr = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags: match mode {
            XdpMode::Native => XDP_FLAGS_DRV_MODE,
            XdpMode::Generic => XDP_FLAGS_SKB_MODE,
        },
    };
    // SAFETY: `attr` is the beginning of a `bpf_attr` for this command, without pointers.
    unsafe { bpf(BPF_LINK_CREATE, &attr) }
}

/// A `bpf(2)` command that returns a file descriptor.
///
/// # Safety
/// `attr` must be laid out as the kernel expects for `command`.
unsafe fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for `attr`; the kernel reads no more than its size.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *const T, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: these commands return a new descriptor that belongs to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
