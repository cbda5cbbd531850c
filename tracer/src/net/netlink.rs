//! The netlink client: requests, answers and lists, and sockets that hear of changes.

use std::io;

use netlink_sys::{
    Socket, SocketAddr,
    constants::{
        NETLINK_GENERIC, NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_XFRM,
    },
};

use super::message::{Message, Request, messages, u32_at};

/// Room for one datagram: the kernel fills up to 32 KiB of a dump into one.
const DATAGRAM: usize = 1 << 16;
/// How often a list that was disturbed by a change is asked for again.
const ATTEMPTS: usize = 5;

/// A socket for requests. It belongs to the namespace that its thread was in when it was opened,
/// whichever thread uses it later.
pub(super) struct Netlink {
    socket: Socket,
}

/// What the kernel lists.
pub(super) struct Listing<T> {
    pub(super) items: Vec<T>,
    /// False if it kept changing while it was read, so that something may be missing.
    pub(super) whole: bool,
}

impl Netlink {
    /// For questions about sockets (`NETLINK_SOCK_DIAG`).
    pub(super) fn sock_diag() -> io::Result<Self> {
        Self::open(NETLINK_SOCK_DIAG)
    }

    /// For questions about netfilter (`NETLINK_NETFILTER`).
    pub(super) fn netfilter() -> io::Result<Self> {
        Self::open(NETLINK_NETFILTER)
    }

    /// For questions to subsystems that have no protocol of their own (`NETLINK_GENERIC`).
    pub(super) fn generic() -> io::Result<Self> {
        Self::open(NETLINK_GENERIC)
    }

    /// For questions about IPsec (`NETLINK_XFRM`).
    pub(super) fn xfrm() -> io::Result<Self> {
        Self::open(NETLINK_XFRM)
    }

    fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Sends a request and waits until the kernel has done it.
    pub(super) fn run(&self, request: &Request) -> io::Result<()> {
        match self.exchange(request, libc::NLM_F_ACK, |_| {})? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    /// Asks for one answer, and returns what `read` makes of it. The inner error is the kernel's
    /// refusal, the outer one says that it could not be asked.
    pub(super) fn ask<T>(
        &self,
        request: &Request,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<io::Result<Option<T>>> {
        let mut answer = None;
        let done = self.exchange(request, libc::NLM_F_ACK, |message| answer = read(message))?;
        Ok(done.map(|_| answer))
    }

    /// Lists what the request asks for, as far as `read` makes something of it.
    ///
    /// # Errors
    ///
    /// The list kept changing while it was read, or the kernel refuses.
    pub(super) fn dump<T>(
        &self,
        request: &Request,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let listing = self.listing(request, read)?;
        if !listing.whole {
            let what = "the list kept changing while it was read";
            return Err(io::Error::new(io::ErrorKind::Interrupted, what));
        }
        Ok(listing.items)
    }

    /// Like [`Netlink::dump`], but a list that keeps changing is returned as it was last read.
    pub(super) fn listing<T>(
        &self,
        request: &Request,
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Listing<T>> {
        let mut items = Vec::new();
        let mut whole = false;
        for _ in 0..ATTEMPTS {
            items.clear();
            whole = self.exchange(request, libc::NLM_F_DUMP, |message| {
                items.extend(read(message));
            })??;
            if whole {
                break;
            }
        }
        Ok(Listing { items, whole })
    }

    /// Whether the answer is of one piece: false if there were changes during a dump. The inner
    /// error is the kernel's refusal.
    fn exchange(
        &self,
        request: &Request,
        flags: i32,
        mut each: impl FnMut(&Message<'_>),
    ) -> io::Result<io::Result<bool>> {
        self.socket.send(&request.bytes(flags), 0)?;
        let mut buffer = buffer();
        let mut whole = true;
        loop {
            let length = receive(&self.socket, &mut buffer)?;
            for message in messages(&buffer[..length]) {
                whole &= !message.is_interrupted();
                match i32::from(message.kind) {
                    // Both start with an error number: a dump can also fail at its end.
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                        let errno = u32_at(message.payload, 0).map_or(0, u32::cast_signed);
                        return Ok(match errno {
                            0.. => Ok(whole),
                            errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
                        });
                    }
                    libc::NLMSG_NOOP => {}
                    _ => each(&message),
                }
            }
        }
    }
}

/// A socket for questions about the interfaces, routes and queues of one network namespace.
pub(crate) struct Rtnetlink(pub(super) Netlink);

impl Rtnetlink {
    /// For the namespace that this thread is in.
    pub(crate) fn open() -> io::Result<Self> {
        let netlink = Netlink::open(NETLINK_ROUTE)?;
        // Lets the kernel select by the fixed part of a request (since 4.20). Without it, lists
        // are longer: what reads them selects too.
        let _ = netlink.socket.set_netlink_get_strict_chk(true);
        Ok(Self(netlink))
    }
}

/// A socket that receives changes in the namespace that its thread is in.
pub(super) fn listen(groups: &[u32]) -> io::Result<Socket> {
    /// Some thousand messages; in tests, too few. More only matter less often: a lost one causes a
    /// new listing.
    const ROOM: libc::c_int = if cfg!(test) { 1 << 14 } else { 1 << 21 };
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    // As much as `net.core.rmem_max` allows.
    socket.set_rx_buf_sz(ROOM)?;
    socket.set_non_blocking(true)?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    Ok(socket)
}

/// Reads one datagram. One that does not fit is as good as lost: `ENOBUFS`, as for a lost one.
pub(super) fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.recv(&mut &mut *buffer, libc::MSG_TRUNC) {
            Ok(length) if length > buffer.len() => {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A buffer for [`receive`].
pub(super) fn buffer() -> Vec<u8> {
    vec![0; DATAGRAM]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_and_refuses() {
        let rtnetlink = Rtnetlink::open().unwrap();
        let index = |message: &Message<'_>| message.u32_at(4);
        let mut fixed = [0; 16];
        fixed[4] = 1;
        let lo = Request::new(libc::RTM_GETLINK, &fixed);
        assert_eq!(rtnetlink.0.ask(&lo, index).unwrap().unwrap(), Some(1));
        fixed[4..8].fill(0x7f);
        let none = Request::new(libc::RTM_GETLINK, &fixed);
        let error = rtnetlink.0.ask(&none, index).unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
