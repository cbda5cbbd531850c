//! A cable between two interfaces that carries frames by hand: late, or changed on the way.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::EventFd,
};
use socket2::{Domain, Socket, Type};

use crate::lab::Namespace;

/// One end of a cable: an interface.
pub type WireEnd<'a> = (&'a Namespace, &'a str);

/// A cable. What comes in at one end goes out at the other until it is dropped.
///
/// Frames are carried as they are, so their sender must not leave checksums and segmentation
/// to the hardware: `ethtool -K eth0 tx off tso off gso off gro off`.
pub struct Wire {
    stop: Arc<EventFd>,
    carrier: Option<JoinHandle<()>>,
}

impl Wire {
    /// Lays it. Every frame takes this long, and `change` may do with it what it wants; the flag is
    /// set for what comes in at `a`.
    pub fn lay(
        a: WireEnd<'_>,
        b: WireEnd<'_>,
        delay: Duration,
        change: impl FnMut(bool, &mut [u8]) + Send + 'static,
    ) -> Result<Self> {
        let ends = [open(a)?, open(b)?];
        let stop = Arc::new(EventFd::new()?);
        let carrier = thread::spawn({
            let stop = Arc::clone(&stop);
            move || carry(&ends, &stop, delay, change)
        });
        Ok(Self {
            stop,
            carrier: Some(carrier),
        })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.stop.write(1).is_ok()
            && let Some(carrier) = self.carrier.take()
        {
            // A thread that panicked has closed its ends, too.
            let _ = carrier.join();
        }
    }
}

fn carry(
    ends: &[Socket; 2],
    stop: &EventFd,
    delay: Duration,
    mut change: impl FnMut(bool, &mut [u8]),
) {
    let mut under_way = VecDeque::<(Instant, usize, Vec<u8>)>::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let wait = under_way.front().map_or(PollTimeout::NONE, |(due, ..)| {
            let left = due.saturating_duration_since(Instant::now());
            // Poll counts whole milliseconds: one more, or it would spin through the last of them.
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut ready = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(ends[0].as_fd(), PollFlags::POLLIN),
            PollFd::new(ends[1].as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut ready, wait).is_err() {
            continue;
        }
        let [stopped, first, second] = ready.map(|end| end.any().unwrap_or(false));
        if stopped {
            return;
        }
        for (from, _) in [first, second]
            .into_iter()
            .enumerate()
            .filter(|(_, has)| *has)
        {
            if let Ok(count) = (&ends[from]).read(&mut buffer) {
                change(from == 0, &mut buffer[..count]);
                let due = Instant::now() + delay;
                under_way.push_back((due, 1 - from, buffer[..count].to_vec()));
            }
        }
        while let Some((_, to, frame)) = under_way.pop_front_if(|(due, ..)| *due <= Instant::now())
        {
            // An interface that is down loses frames, as a cable does.
            let _ = (&ends[to]).write(&frame);
        }
    }
}

/// Opens an interface for whole frames, but for those that leave through it.
fn open((namespace, ifname): WireEnd<'_>) -> Result<Socket> {
    let socket = namespace.enter(|| -> io::Result<Socket> {
        // Bound only below: until then it must take nothing, hence no protocol.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        set_packet_option(&socket, libc::PACKET_IGNORE_OUTGOING, 1)?;
        bind(&socket, if_nametoindex(ifname)?)?;
        Ok(socket)
    });
    socket.with_context(|| format!("cannot open {ifname} in {}", namespace.name()))
}

fn set_packet_option(socket: &Socket, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option takes an `int`, which lives until after the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(result)?;
    Ok(())
}

pub(super) fn bind(socket: &Socket, ifindex: libc::c_uint) -> io::Result<()> {
    // SAFETY: an all-zero `sockaddr_ll` is a valid one: plain integers and arrays.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = ifindex.cast_signed();
    // SAFETY: the kernel reads one `sockaddr_ll`, which lives until after the call.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(result)?;
    Ok(())
}
