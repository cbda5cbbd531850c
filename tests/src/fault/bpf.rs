//! Programs loaded and attached through `bpf(2)` itself: a dozen instructions need no compiler and
//! no loader.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// One instruction: opcode, registers (source above destination), offset, immediate.
pub(crate) type Instruction = (u8, u8, i16, i32);

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_DETACH: libc::c_long = 34;

/// `BPF_OBJ_NAME_LEN`, with the end.
const NAME_LEN: usize = 16;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    unused: [u32; 6],
    name: [u8; NAME_LEN],
    ifindex: u32,
    expected_attach_type: u32,
}

/// The head of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    more: [u32; 4],
}

/// The head of `union bpf_attr` for `BPF_PROG_QUERY`.
#[repr(C)]
struct ProgQuery {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    reserved: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Loads a program of a type (`enum bpf_prog_type`).
pub(crate) fn load(prog_type: u32, program: &[Instruction]) -> io::Result<OwnedFd> {
    load_as("", prog_type, 0, program)
}

/// Loads a program with a name, of which the kernel takes 15 letters, digits, `_` and `.`.
pub(super) fn load_named(
    name: &str,
    prog_type: u32,
    program: &[Instruction],
) -> io::Result<OwnedFd> {
    load_as(name, prog_type, 0, program)
}

/// Loads a program of a type that wants to know where it will be attached.
pub(super) fn load_for(
    prog_type: u32,
    expected_attach_type: u32,
    program: &[Instruction],
) -> io::Result<OwnedFd> {
    load_as("", prog_type, expected_attach_type, program)
}

fn load_as(
    name: &str,
    prog_type: u32,
    expected_attach_type: u32,
    program: &[Instruction],
) -> io::Result<OwnedFd> {
    let mut padded = [0; NAME_LEN];
    padded[..name.len()].copy_from_slice(name.as_bytes());
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
    let mut attr = ProgLoad {
        prog_type,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        unused: [0; 6],
        name: padded,
        ifindex: 0,
        expected_attach_type,
    };
    // SAFETY: `attr` is the beginning of a `bpf_attr` for this command, and what it points to
    // outlives the call.
    descriptor(unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?)
}

/// Attaches a program to an interface of this thread's namespace (`enum bpf_attach_type`).
pub(crate) fn link(
    program: &OwnedFd,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    link_with(program, ifindex, attach_type, flags, [0; 4])
}

/// Attaches a program to whatever its type is attached to; `more` is what some want to know.
pub(super) fn link_with(
    program: &OwnedFd,
    target: u32,
    attach_type: u32,
    flags: u32,
    more: [u32; 4],
) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        target,
        attach_type,
        flags,
        more,
    };
    // SAFETY: `attr` is the beginning of a `bpf_attr` for this command, without pointers.
    descriptor(unsafe { bpf(BPF_LINK_CREATE, &mut attr) }?)
}

/// Detaches a link at once. Closing it does so only if no other process has it open, as a child of
/// another test's thread may between fork and exec.
pub(super) fn detach(link: &OwnedFd) -> io::Result<()> {
    let mut attr = link.as_raw_fd().cast_unsigned();
    // SAFETY: `attr` is the beginning of a `bpf_attr` for this command, without pointers.
    unsafe { bpf(BPF_LINK_DETACH, &mut attr) }.map(drop)
}

/// The ids of the programs at an interface of this thread's namespace, in the order in which they
/// run.
pub(crate) fn programs(ifindex: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; 64];
    let mut attr = ProgQuery {
        target_ifindex: ifindex,
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        count: 64,
        reserved: 0,
        prog_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    // SAFETY: `attr` is the beginning of a `bpf_attr` for this command; the kernel writes at most
    // `count` ids to where it points, and that outlives the call.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    Ok(ids[..attr.count as usize].to_vec())
}

pub(crate) fn descriptor(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: these commands return a new descriptor that belongs to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A `bpf(2)` command.
///
/// # Safety
/// `attr` must be laid out as the kernel expects for `command`.
pub(crate) unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<i32> {
    // SAFETY: the caller vouches for `attr`; the kernel touches no more than its size.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut T, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
