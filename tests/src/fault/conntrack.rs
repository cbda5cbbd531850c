//! A full connection tracking table.

use std::{
    fs,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, send, socket};

use super::netlink::{attribute, message, nested};
use crate::lab::Namespace;

/// Numbers of include/uapi/linux/netfilter/nfnetlink_conntrack.h and its neighbors.
mod ct {
    /// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`.
    pub(super) const NEW: u16 = 1 << 8;
    pub(super) const TUPLE_ORIG: u16 = 1;
    pub(super) const TUPLE_REPLY: u16 = 2;
    pub(super) const STATUS: u16 = 3;
    pub(super) const TIMEOUT: u16 = 7;
    pub(super) const TUPLE_IP: u16 = 1;
    pub(super) const TUPLE_PROTO: u16 = 2;
    pub(super) const IP_V4_SRC: u16 = 1;
    pub(super) const IP_V4_DST: u16 = 2;
    pub(super) const PROTO_NUM: u16 = 1;
    pub(super) const PROTO_SRC_PORT: u16 = 2;
    pub(super) const PROTO_DST_PORT: u16 = 3;
    /// `IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED`: none of these is given up for a new one.
    pub(super) const ASSURED: u32 = 2 | 4 | 8;
}

/// How many entries go to the kernel at once.
const BATCH: u64 = 500;

/// Fills the table of a namespace that tracks connections, with answered UDP conversations between
/// addresses for documentation.
pub fn fill_conntrack(namespace: &Namespace) -> Result<()> {
    namespace.enter(|| {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        let limit = read("nf_conntrack_max")?;
        let mut made = 0;
        while read("nf_conntrack_count")? < limit {
            ensure!(made < 2 * limit, "the table does not fill up");
            let missing = limit - read("nf_conntrack_count")?;
            let batch: Vec<u8> = (0..missing.min(BATCH))
                .flat_map(|number| entry(made + number))
                .collect();
            made += missing.min(BATCH);
            hand_over(&socket, &batch)?;
        }
        Ok(())
    })
}

fn read(setting: &str) -> Result<u64> {
    let path = format!("/proc/sys/net/netfilter/{setting}");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    text.trim().parse().context(path)
}

/// The kernel has made the entries when this returns.
fn hand_over(socket: &OwnedFd, messages: &[u8]) -> Result<()> {
    send(socket.as_raw_fd(), messages, MsgFlags::empty()).context("ctnetlink")?;
    Ok(())
}

/// The message that makes one entry.
fn entry(number: u64) -> Vec<u8> {
    let port = (number % 60_000) as u16 + 1024;
    let client = Ipv4Addr::new(198, 51, 100, (number / 60_000) as u8 + 1);
    let server = Ipv4Addr::new(203, 0, 113, 1);
    let there = tuple((client, port), (server, 53));
    let back = tuple((server, 53), (client, port));
    let mut body = nested(ct::TUPLE_ORIG, &there);
    body.extend(nested(ct::TUPLE_REPLY, &back));
    body.extend(attribute(ct::STATUS, &ct::ASSURED.to_be_bytes()));
    body.extend(attribute(ct::TIMEOUT, &3600_u32.to_be_bytes()));
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    message(ct::NEW, flags, libc::AF_INET as u8, 0, &body)
}

fn tuple(src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16)) -> Vec<u8> {
    let addresses = [
        attribute(ct::IP_V4_SRC, &src.0.octets()),
        attribute(ct::IP_V4_DST, &dst.0.octets()),
    ];
    let ports = [
        attribute(ct::PROTO_NUM, &[libc::IPPROTO_UDP as u8]),
        attribute(ct::PROTO_SRC_PORT, &src.1.to_be_bytes()),
        attribute(ct::PROTO_DST_PORT, &dst.1.to_be_bytes()),
    ];
    let mut whole = nested(ct::TUPLE_IP, &addresses.concat());
    whole.extend(nested(ct::TUPLE_PROTO, &ports.concat()));
    whole
}
