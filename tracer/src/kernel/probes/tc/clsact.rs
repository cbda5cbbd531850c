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

use crate::net::{CLSACT_EGRESS, CLSACT_INGRESS, Rtnetlink};

/// The name of our filters.
pub(crate) const NAME: &str = "whydrop";
const PARENTS: [u32; 2] = [CLSACT_INGRESS, CLSACT_EGRESS];
/// First; or if another kind of filter already is, second.
const PRIORITIES: [u16; 2] = [1, 2];

/// What clsact takes in one namespace.
pub(super) struct Clsact {
    rtnetlink: Rtnetlink,
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
        let clsact = Self {
            rtnetlink: Rtnetlink::open()?,
            handle,
            _alive: alive,
        };
        clsact.sweep()?;
        Ok(clsact)
    }

    /// Adds both filters, and the qdisc if there is none.
    pub(super) fn attach(&self, ifindex: u32, fds: [RawFd; 2]) -> io::Result<Filters> {
        let qdisc = self.rtnetlink.add_clsact(ifindex)?;
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
    /// mean that another process was faster.
    pub(super) fn detach(&self, ifindex: u32, filters: &Filters) {
        for (parent, priority) in PARENTS.into_iter().zip(filters.priorities) {
            if priority != 0 {
                let id = (priority, self.handle);
                let _ = self.rtnetlink.remove_bpf_filter((ifindex, parent), id);
            }
        }
        let is_unused = |parent| {
            let filters = self.rtnetlink.filters(ifindex, parent);
            filters.is_ok_and(|filters| filters.is_empty())
        };
        if filters.qdisc && PARENTS.into_iter().all(is_unused) {
            let _ = self.rtnetlink.remove_clsact(ifindex);
        }
    }

    /// Removes the filters of dead processes.
    fn sweep(&self) -> io::Result<()> {
        let mut dead: HashMap<u32, bool> = [(self.handle, false)].into();
        for ifindex in self.rtnetlink.clsact_interfaces()? {
            for parent in PARENTS {
                // One that has gone meanwhile has nothing left on it.
                let filters = self.rtnetlink.filters(ifindex, parent).unwrap_or_default();
                let ours = filters
                    .into_iter()
                    .filter(|filter| filter.name.as_deref() == Some(NAME));
                for found in ours {
                    let (priority, handle) = (found.id.priority, found.id.handle);
                    let is_dead = || hold(handle).is_ok();
                    if *dead.entry(handle).or_insert_with(is_dead) {
                        log::debug!("removing the filter of a dead whydrop at interface {ifindex}");
                        let id = (priority, handle);
                        let _ = self.rtnetlink.remove_bpf_filter((ifindex, parent), id);
                    }
                }
            }
        }
        Ok(())
    }

    /// The priority that it got.
    fn add_filter(&self, ifindex: u32, parent: u32, fd: RawFd) -> io::Result<u16> {
        let mut result = Ok(0);
        for priority in PRIORITIES {
            let id = (priority, self.handle);
            let added = self
                .rtnetlink
                .add_bpf_filter((ifindex, parent), id, NAME, fd);
            result = added.map(|()| priority);
            if result.is_ok() {
                break;
            }
        }
        result
    }
}

/// Says that the owner of a handle is alive, as long as the socket is open.
fn hold(handle: u32) -> io::Result<UnixDatagram> {
    let name = format!("whydrop/clsact/{handle:08x}");
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}
