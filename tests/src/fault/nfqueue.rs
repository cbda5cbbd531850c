//! A program that is asked about packets (NFQUEUE), and refuses them all.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::EventFd,
        socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
    },
};

use super::netlink::{attribute, message};
use crate::lab::Namespace;

/// Numbers of include/uapi/linux/netfilter/nfnetlink_queue.h, with `NFNL_SUBSYS_QUEUE` above.
mod nfqnl {
    pub(super) const PACKET: u16 = 3 << 8;
    pub(super) const VERDICT: u16 = 3 << 8 | 1;
    pub(super) const CONFIG: u16 = 3 << 8 | 2;
    pub(super) const CFG_CMD: u16 = 1;
    pub(super) const CFG_CMD_BIND: u8 = 1;
    pub(super) const CFG_PARAMS: u16 = 2;
    pub(super) const COPY_META: u8 = 1;
    pub(super) const PACKET_HDR: u16 = 1;
    pub(super) const VERDICT_HDR: u16 = 2;
}

/// Refuses what a queue is asked about, until this value goes.
pub struct Refuser {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Refuser {
    /// The name of the thread that refuses.
    pub const NAME: &'static str = "refuser";

    /// Takes the queue with this number in a namespace.
    pub fn start(namespace: &Namespace, queue: u16) -> Result<Self> {
        let socket = namespace.enter(|| {
            socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkNetFilter,
            )
        })?;
        // `struct nfqnl_msg_config_cmd`: the command, padding, the protocol family.
        let bind = attribute(nfqnl::CFG_CMD, &[nfqnl::CFG_CMD_BIND, 0, 0, 0]);
        // `struct nfqnl_msg_config_params`: how much of each packet, and that none is needed.
        let copy = attribute(nfqnl::CFG_PARAMS, &[0, 0, 0, 0, nfqnl::COPY_META]);
        for what in [bind, copy] {
            request(&socket, nfqnl::CONFIG, queue, &what).context("nfnetlink_queue")?;
        }
        let stop = Arc::new(EventFd::new()?);
        let thread = thread::Builder::new().name(Self::NAME.to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || refuse(&socket, queue, &stop)
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Refuser {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn request(socket: &OwnedFd, kind: u16, queue: u16, attributes: &[u8]) -> nix::Result<()> {
    let flags = libc::NLM_F_REQUEST as u16;
    let body = message(kind, flags, libc::AF_UNSPEC as u8, queue, attributes);
    send(socket.as_raw_fd(), &body, MsgFlags::empty()).map(drop)
}

fn refuse(socket: &OwnedFd, queue: u16, stop: &EventFd) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let mut ready = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
        ];
        let polled = poll(&mut ready, PollTimeout::NONE);
        if polled.is_err() || ready[1].any().unwrap_or(true) {
            return;
        }
        let Ok(len) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
            return;
        };
        let Some(packet) = packet_id(&buffer[..len]) else {
            continue;
        };
        // `struct nfqnl_msg_verdict_hdr`: the verdict, `NF_DROP`, and the packet's number.
        let verdict = [[0; 4], packet].concat();
        let verdict = attribute(nfqnl::VERDICT_HDR, &verdict);
        if request(socket, nfqnl::VERDICT, queue, &verdict).is_err() {
            return;
        }
    }
}

/// The number of the packet that a message is about, in network byte order.
fn packet_id(message: &[u8]) -> Option<[u8; 4]> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    if kind != nfqnl::PACKET {
        return None;
    }
    // The first attribute, behind both headers, is the packet's.
    let attribute = message.get(20..)?;
    let first = u16::from_ne_bytes(attribute.get(2..4)?.try_into().ok()?);
    (first == nfqnl::PACKET_HDR).then(|| attribute.get(4..8)?.try_into().ok())?
}
