//! A device that swallows packets without a trace.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Read,
    net::IpAddr,
    os::fd::{AsFd, AsRawFd},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::EventFd,
};

use crate::lab::Namespace;

/// A tun device whose reader throws everything away.
///
/// For the kernel each packet was delivered: it is consumed, not dropped, so no tracepoint, no
/// counter and no ICMP error speaks of it. That is what a loss on another machine looks like.
pub struct Sink {
    swallowed: Arc<Mutex<HashMap<IpAddr, u64>>>,
    stop: Arc<EventFd>,
    reader: Option<JoinHandle<()>>,
}

impl Sink {
    /// Creates the device in a namespace, takes it up and starts to swallow.
    pub fn create(namespace: &Namespace, ifname: &str) -> Result<Self> {
        let device = namespace
            .enter(|| open_tun(ifname))
            .with_context(|| format!("cannot create the tun device {ifname}"))?;
        namespace.run(&format!("ip link set dev {ifname} up"))?;

        let swallowed = Arc::<Mutex<_>>::default();
        let stop = Arc::new(EventFd::new()?);
        let reader = thread::spawn({
            let (swallowed, stop) = (Arc::clone(&swallowed), Arc::clone(&stop));
            move || swallow(device, &stop, &swallowed)
        });
        Ok(Self {
            swallowed,
            stop,
            reader: Some(reader),
        })
    }

    /// How many packets to an address are gone.
    pub fn swallowed(&self, destination: IpAddr) -> u64 {
        let swallowed = self.swallowed.lock().expect("the reader does not panic");
        swallowed.get(&destination).copied().unwrap_or_default()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // The device goes with its last file descriptor, which the reader holds.
        if self.stop.write(1).is_ok()
            && let Some(reader) = self.reader.take()
        {
            // A reader that panicked has still closed the device.
            let _ = reader.join();
        }
    }
}

fn swallow(mut device: File, stop: &EventFd, swallowed: &Mutex<HashMap<IpAddr, u64>>) {
    let mut packet = vec![0; 1 << 16];
    loop {
        let mut ready = [
            PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(device.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        if ready[0].any().unwrap_or(false) {
            return;
        }
        let Ok(count) = device.read(&mut packet) else {
            continue;
        };
        if let Some(destination) = destination(&packet[..count]) {
            let mut swallowed = swallowed.lock().expect("no panic while this lock is held");
            *swallowed.entry(destination).or_default() += 1;
        }
    }
}

/// Where an IP packet goes.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => <[u8; 4]>::try_from(packet.get(16..20)?)
            .ok()
            .map(Into::into),
        6 => <[u8; 16]>::try_from(packet.get(24..40)?)
            .ok()
            .map(Into::into),
        _ => None,
    }
}

fn open_tun(ifname: &str) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: an all-zero `ifreq` is a valid one: plain integers and arrays.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    anyhow::ensure!(
        ifname.len() < request.ifr_name.len(),
        "{ifname} is too long for the name of an interface"
    );
    for (to, from) in request.ifr_name.iter_mut().zip(ifname.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags =
        i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).context("the flags fit")?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives until after the call.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    nix::errno::Errno::result(result)?;
    Ok(file)
}
