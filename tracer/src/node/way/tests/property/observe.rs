//! Sees where the packet comes by, and where it is delivered.

use std::{
    collections::BTreeSet,
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{addresses::Family, lab::Lab, plan::Plan, sent};
use crate::node::world::{LinkId, World};

/// Longer silence than between two steps of a packet.
const SILENCE: Duration = Duration::from_millis(300);
/// A packet that is still to come may take this long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(4);

/// A place where the packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sighting {
    pub(super) netns: u32,
    pub(super) ifindex: u32,
    pub(super) is_in: bool,
    /// Taps see such packets twice, or not at all.
    pub(super) is_loopback: bool,
}

impl Sighting {
    pub(super) fn of(link: LinkId, is_in: bool) -> Self {
        Self {
            netns: link.netns,
            ifindex: link.ifindex,
            is_in,
            is_loopback: link.ifindex == 1,
        }
    }
}

pub(super) struct Seen {
    /// Where it was seen.
    pub(super) sightings: BTreeSet<Sighting>,
    /// Where it was seen with a MAC address that the link takes.
    pub(super) for_it: BTreeSet<Sighting>,
    pub(super) delivered: Option<u32>,
    refused: Option<io::Error>,
}

impl Seen {
    pub(super) fn in_words(&self, world: &World) -> String {
        let places = self.sightings.iter().map(|one| {
            let link = LinkId {
                netns: one.netns,
                ifindex: one.ifindex,
            };
            let way = if one.is_in {
                "in through"
            } else {
                "out through"
            };
            format!("{way} {}", world.link_name(link, u32::MAX))
        });
        let places: Vec<_> = places.collect();
        format!(
            "seen {}; delivered in {:?}; {:?}",
            places.join(", "),
            self.delivered.map(|netns| &world.namespaces[&netns].name),
            self.refused
        )
    }
}

/// Sockets in all namespaces.
pub(super) struct Observer<'a> {
    plan: &'a Plan,
    taps: Vec<(u32, OwnedFd)>,
    /// What has passed the hook `input`, and is for this namespace.
    receivers: Vec<(u32, Socket)>,
    _way_out: Option<File>,
}

impl<'a> Observer<'a> {
    pub(super) fn open(plan: &'a Plan, lab: &Lab) -> Self {
        let mut observer = Self {
            plan,
            taps: Vec::new(),
            receivers: Vec::new(),
            _way_out: None,
        };
        for (name, inode) in lab.names() {
            let path = lab.path(name);
            let is_first = name == "n1";
            let (tap, receiver, tun) = inside(&path, move || {
                let receiver = receiver(plan);
                let tun = is_first.then(way_out).flatten();
                (tap(), receiver, tun)
            });
            observer.taps.push((inode, tap));
            observer.receivers.push((inode, receiver));
            if tun.is_some() {
                observer._way_out = tun;
            }
        }
        observer
    }

    /// Sends the packet, and looks until it has arrived, or nothing happens any more. What does not
    /// agree with what is expected gets more time: the machine may be busy.
    pub(super) fn send(self, lab: &Lab, agrees: impl Fn(&Seen) -> bool) -> Seen {
        let plan = self.plan;
        let sent = inside(&lab.path(&plan.sender()), move || sent::send(plan));
        let (_connecting, refused) = match sent {
            Ok(socket) => (socket, None),
            Err(error) => (None, Some(error)),
        };
        let mut seen = Seen {
            sightings: BTreeSet::new(),
            for_it: BTreeSet::new(),
            delivered: None,
            refused,
        };
        let mut last = Instant::now();
        loop {
            let before = seen.sightings.len();
            self.look(&mut seen);
            if seen.sightings.len() > before {
                last = Instant::now();
            }
            let agrees = agrees(&seen);
            let is_over = agrees && seen.delivered.is_some();
            if is_over || last.elapsed() > if agrees { SILENCE } else { PATIENCE } {
                return seen;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn look(&self, seen: &mut Seen) {
        for (inode, tap) in &self.taps {
            while let Some(sighting) = read(self.plan, *inode, tap) {
                let Some(sighting) = sighting else { continue };
                seen.sightings.insert(sighting.at);
                if !sighting.is_for_other {
                    seen.for_it.insert(sighting.at);
                }
            }
        }
        for (inode, receiver) in &self.receivers {
            let mut bytes = [0; 2048];
            while let Ok(length) = io::Read::read(&mut &*receiver, &mut bytes) {
                let bytes = &bytes[..length];
                let is_it = match self.plan.family {
                    Family::V4 => sent::is_it(self.plan, bytes),
                    // Raw sockets of IPv6 show no network header.
                    Family::V6 => sent::is_its_transport(self.plan, bytes),
                };
                if is_it {
                    seen.delivered = Some(*inode);
                }
            }
        }
    }
}

/// Sees what is delivered in the namespace of this thread, behind its hook `input`, with or without a listener.
fn receiver(plan: &Plan) -> Socket {
    let domain = match plan.family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let protocol = Protocol::from(i32::from(plan.protocol.number()));
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

struct Seeing {
    at: Sighting,
    /// Its MAC address is another host's: a bridge may pass it on, or have flooded it.
    is_for_other: bool,
}

/// The next packet of a tap: `Some(None)` for another one.
fn read(plan: &Plan, netns: u32, tap: &OwnedFd) -> Option<Option<Seeing>> {
    let mut bytes = [0_u8; 2048];
    // SAFETY: all-zero is a value of the plain struct.
    let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&from) as libc::socklen_t;
    // SAFETY: all places are valid, and of the sizes that are given.
    let length = unsafe {
        libc::recvfrom(
            tap.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT,
            (&raw mut from).cast(),
            &raw mut size,
        )
    };
    let length = usize::try_from(length).ok()?;
    let bytes = &bytes[..length.min(bytes.len())];
    let link = LinkId {
        netns,
        ifindex: from.sll_ifindex.cast_unsigned(),
    };
    Some(sent::is_it(plan, bytes).then(|| Seeing {
        at: Sighting::of(link, from.sll_pkttype != libc::PACKET_OUTGOING),
        is_for_other: from.sll_pkttype == libc::PACKET_OTHERHOST,
    }))
}

/// Does something in a namespace, on a thread of its own.
fn inside<T: Send>(path: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = || {
            let file = File::open(path).unwrap();
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        scope.spawn(inside).join().unwrap()
    })
}

/// Sees all packets of a namespace.
fn tap() -> OwnedFd {
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) does not touch memory, and the descriptor is new.
    unsafe {
        let descriptor = libc::socket(libc::AF_PACKET, kind, protocol);
        assert!(descriptor >= 0);
        OwnedFd::from_raw_fd(descriptor)
    }
}

/// Holds the device of the way out, so that it has a carrier.
fn way_out() -> Option<File> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const IFF_TUN: u16 = 1;
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .ok()?;
    let mut request = [0_u8; 40];
    request[..3].copy_from_slice(b"out");
    request[16..18].copy_from_slice(&IFF_TUN.to_ne_bytes());
    // SAFETY: `request` is as large as `struct ifreq`.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
    (result == 0).then_some(file)
}
