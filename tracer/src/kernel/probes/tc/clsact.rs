//! Classifiers as filters of the clsact qdisc, for kernels without TCX.
//!
//! Such a filter outlives its process. Ours are therefore recognisable: by their name, and by a
//! handle whose owner holds an abstract Unix socket of the same number in the same network
//! namespace. The kernel closes that socket with the process, and no two processes mistake each
//! other for dead, whatever PID namespaces they are in.
//!
//! This is not left to aya's netlink links, because those detach in whichever namespace the process
//! happens to be, and name filters after their programs.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    io,
    os::{
        fd::RawFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

use crate::kernel::interfaces::netlink::{Message, Netlink, Request, attributes, u32_at};

const NAME: &[u8] = b"whydrop\0";
const PARENTS: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// First; or if another kind of filter already is, second.
const PRIORITIES: [u16; 2] = [1, 2];

/// Numbers of include/uapi/linux/{rtnetlink,pkt_cls}.h.
mod tca {
    pub(super) const KIND: u16 = 1;
    pub(super) const OPTIONS: u16 = 2;
    pub(super) const BPF_FD: u16 = 6;
    pub(super) const BPF_NAME: u16 = 7;
    pub(super) const BPF_FLAGS: u16 = 8;
    pub(super) const BPF_FLAG_ACT_DIRECT: u32 = 1;
    /// Length of `struct tcmsg`.
    pub(super) const FIXED: usize = 20;
}

/// What clsact takes in one namespace.
pub(super) struct Clsact {
    netlink: Netlink,
    handle: u32,
    /// Says that the owner of `handle` is alive.
    _alive: UnixDatagram,
}

/// The two filters at one interface.
pub(super) struct Filters {
    priorities: [u16; 2],
    /// Whether the qdisc is ours as well.
    qdisc: bool,
}

impl Clsact {
    /// For the namespace of this thread. Sweeps what dead processes left there.
    pub(super) fn open() -> io::Result<Self> {
        let random = RandomState::new();
        let (handle, alive) = (0_u32..)
            .map(|attempt| random.hash_one(attempt) as u32 & 0x7fff_ffff | 1)
            .find_map(|handle| match hold(handle) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
                other => Some(other.map(|socket| (handle, socket))),
            })
            .ok_or(io::ErrorKind::AddrInUse)??;
        let mut clsact = Self {
            netlink: Netlink::open()?,
            handle,
            _alive: alive,
        };
        clsact.sweep()?;
        Ok(clsact)
    }

    /// Adds both filters, and the qdisc if there is none.
    pub(super) fn attach(&mut self, ifindex: u32, fds: [RawFd; 2]) -> io::Result<Filters> {
        let qdisc = self.add_qdisc(ifindex)?;
        let mut filters = Filters {
            priorities: [0; 2],
            qdisc,
        };
        for (direction, fd) in fds.into_iter().enumerate() {
            match self.add_filter(ifindex, PARENTS[direction], fd) {
                Ok(priority) => filters.priorities[direction] = priority,
                Err(error) => {
                    self.detach(ifindex, &filters);
                    return Err(error);
                }
            }
        }
        Ok(filters)
    }

    /// Removes both filters, and the qdisc if it is ours and of no use to anybody else. Failures
    /// mean that somebody was faster.
    pub(super) fn detach(&mut self, ifindex: u32, filters: &Filters) {
        for (parent, priority) in PARENTS.into_iter().zip(filters.priorities) {
            if priority != 0 {
                let _ = self.delete(ifindex, parent, priority, self.handle);
            }
        }
        let unused = |this: &mut Self, parent| {
            this.filters(ifindex, parent)
                .is_ok_and(|filters| filters.is_empty())
        };
        if filters.qdisc && PARENTS.into_iter().all(|parent| unused(self, parent)) {
            let header = header(ifindex, CLSACT_HANDLE, CLSACT, 0);
            let request = Request::new(libc::RTM_DELQDISC, 0, &header);
            let _ = self.netlink.run(&request.attribute(tca::KIND, b"clsact\0"));
        }
    }

    /// Removes the filters of dead processes.
    fn sweep(&mut self) -> io::Result<()> {
        let everywhere = Request::new(libc::RTM_GETQDISC, 0, &header(0, 0, 0, 0));
        let interfaces = self.netlink.dump(&everywhere, |message| {
            let mut all = attributes(message.payload.get(tca::FIXED..)?);
            all.any(|attribute| attribute == (tca::KIND, b"clsact\0"))
                .then(|| u32_at(message.payload, 4))?
        })?;
        let mut dead: HashMap<u32, bool> = [(self.handle, false)].into();
        for ifindex in interfaces {
            for parent in PARENTS {
                // One that has gone meanwhile has nothing left on it.
                for found in self.filters(ifindex, parent).unwrap_or_default() {
                    let is_dead = |handle| hold(handle).is_ok();
                    if found.ours
                        && *dead
                            .entry(found.handle)
                            .or_insert_with(|| is_dead(found.handle))
                    {
                        log::debug!("removing the filter of a dead whydrop at interface {ifindex}");
                        let _ = self.delete(ifindex, parent, found.priority, found.handle);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the qdisc was not there.
    fn add_qdisc(&mut self, ifindex: u32) -> io::Result<bool> {
        let request = Request::new(
            libc::RTM_NEWQDISC,
            libc::NLM_F_CREATE | libc::NLM_F_EXCL,
            &header(ifindex, CLSACT_HANDLE, CLSACT, 0),
        );
        match self.netlink.run(&request.attribute(tca::KIND, b"clsact\0")) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The priority that it got.
    fn add_filter(&mut self, ifindex: u32, parent: u32, fd: RawFd) -> io::Result<u16> {
        let mut result = Ok(0);
        for priority in PRIORITIES {
            let request = Request::new(
                libc::RTM_NEWTFILTER,
                libc::NLM_F_CREATE | libc::NLM_F_EXCL,
                &header(ifindex, self.handle, parent, info(priority)),
            );
            let request = request
                .attribute(tca::KIND, b"bpf\0")
                .nested(tca::OPTIONS, |options| {
                    options
                        .attribute(tca::BPF_FD, &fd.to_ne_bytes())
                        .attribute(tca::BPF_NAME, NAME)
                        .attribute(tca::BPF_FLAGS, &tca::BPF_FLAG_ACT_DIRECT.to_ne_bytes())
                });
            result = self.netlink.run(&request).map(|()| priority);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn delete(&mut self, ifindex: u32, parent: u32, priority: u16, handle: u32) -> io::Result<()> {
        let header = header(ifindex, handle, parent, info(priority));
        let request = Request::new(libc::RTM_DELTFILTER, 0, &header);
        self.netlink.run(&request.attribute(tca::KIND, b"bpf\0"))
    }

    fn filters(&mut self, ifindex: u32, parent: u32) -> io::Result<Vec<Filter>> {
        let request = Request::new(libc::RTM_GETTFILTER, 0, &header(ifindex, 0, parent, 0));
        self.netlink.dump(&request, Filter::read)
    }
}

/// A filter that is there.
struct Filter {
    handle: u32,
    priority: u16,
    ours: bool,
}

impl Filter {
    fn read(message: &Message<'_>) -> Option<Self> {
        let handle = u32_at(message.payload, 8)?;
        let options = attributes(message.payload.get(tca::FIXED..)?)
            .find_map(|(kind, value)| (kind == tca::OPTIONS).then_some(value));
        let ours = attributes(options.unwrap_or_default())
            .any(|attribute| attribute == (tca::BPF_NAME, NAME));
        Some(Self {
            handle,
            priority: (u32_at(message.payload, 16)? >> 16) as u16,
            ours,
        })
    }
}

/// Says that the owner of a handle is alive, as long as the socket is open.
fn hold(handle: u32) -> io::Result<UnixDatagram> {
    let name = format!("whydrop/clsact/{handle:08x}");
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// `struct tcmsg`
fn header(ifindex: u32, handle: u32, parent: u32, info: u32) -> [u8; tca::FIXED] {
    let mut bytes = [0; tca::FIXED];
    for (field, value) in [ifindex, handle, parent, info].into_iter().enumerate() {
        bytes[4 * (field + 1)..][..4].copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// Priority and protocol of a filter for all protocols.
fn info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from((libc::ETH_P_ALL as u16).to_be())
}
