//! Which process has a socket: best effort, by looking through `/proc/PID/fd`.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Instant,
};

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id, as seen from where whydrop runs; the lowest if several have the socket.
    pub(crate) pid: u32,
    /// Its name (`/proc/PID/comm`).
    pub(crate) comm: String,
    /// How many more processes have the socket, such as the workers of a web server.
    pub(crate) others: u32,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.comm, self.pid)
    }
}

/// The processes that have these sockets, by the sockets' inode numbers.
///
/// Looks at the processes of the network namespace with this inode number first, and at all others
/// only for what is still missing: a socket can be handed to a process elsewhere. What is not
/// found, not visible, or not reached before the deadline is missing from the result.
pub(crate) fn of_sockets(
    sockets: &HashSet<u32>,
    netns: u32,
    deadline: Instant,
) -> HashMap<u32, Process> {
    let (inside, outside): (Vec<u32>, Vec<u32>) = pids()
        .into_iter()
        .partition(|pid| netns_of(*pid) == Some(u64::from(netns)));
    let mut found = HashMap::new();
    for pid in inside {
        look(pid, sockets, &mut found, deadline);
    }
    let missing: HashSet<_> = sockets
        .iter()
        .filter(|socket| !found.contains_key(socket))
        .copied()
        .collect();
    if !missing.is_empty() {
        for pid in outside {
            look(pid, &missing, &mut found, deadline);
        }
    }
    found
}

/// The process that has this tun or tap device open. Looks at those of the network namespace with
/// this inode number first: devices of the same name in other namespaces look the same from outside.
pub(crate) fn of_tun(ifname: &str, netns: u32, deadline: Instant) -> Option<Process> {
    let (inside, outside): (Vec<u32>, Vec<u32>) = pids()
        .into_iter()
        .partition(|pid| netns_of(*pid) == Some(u64::from(netns)));
    let pid = inside
        .into_iter()
        .chain(outside)
        .take_while(|_| Instant::now() < deadline)
        .find(|pid| has_tun(*pid, ifname))?;
    Some(Process {
        pid,
        comm: comm(pid),
        others: 0,
    })
}

/// `/proc/PID/fdinfo` of such a file has a line `iff: tun0`.
fn has_tun(pid: u32, ifname: &str) -> bool {
    const DEVICE: &str = "/dev/net/tun";
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut files = files.into_iter().flatten().flatten();
    files.any(|file| {
        let is_tun = fs::read_link(file.path()).is_ok_and(|target| target == Path::new(DEVICE));
        let Some(number) = file
            .file_name()
            .to_str()
            .filter(|_| is_tun)
            .map(str::to_owned)
        else {
            return false;
        };
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"));
        info.is_ok_and(|text| attached(&text) == Some(ifname))
    })
}

fn attached(fdinfo: &str) -> Option<&str> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("iff:"))
        .map(str::trim)
}

/// All processes, lowest number first.
fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<_> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// Whether a process of this name runs on this node. `None` where not all of them can be seen, as in
/// a container without the host's process ids.
pub(crate) fn runs(name: &str) -> Option<bool> {
    /// What the kernel calls its second thread, whose number no process in a namespace has.
    const KTHREADD: &str = "kthreadd";
    (comm(2) == KTHREADD).then_some(())?;
    Some(pids().into_iter().any(|pid| comm(pid) == name))
}

fn netns_of(pid: u32) -> Option<u64> {
    let namespace = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
    Some(namespace.ino())
}

fn look(pid: u32, sockets: &HashSet<u32>, found: &mut HashMap<u32, Process>, deadline: Instant) {
    let mut own = HashSet::new();
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    for file in files.into_iter().flatten().flatten() {
        if Instant::now() >= deadline {
            break;
        }
        if let Ok(target) = fs::read_link(file.path())
            && let Some(socket) = socket_inode(&target)
            && sockets.contains(&socket)
        {
            own.insert(socket);
        }
    }
    for socket in own {
        found
            .entry(socket)
            .and_modify(|process| process.others += 1)
            .or_insert_with(|| Process {
                pid,
                comm: comm(pid),
                others: 0,
            });
    }
}

fn comm(pid: u32) -> String {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.trim_end_matches('\n').to_owned()
}

/// The inode number in `socket:[123]`.
fn socket_inode(target: &Path) -> Option<u32> {
    let number = target.to_str()?.strip_prefix("socket:[")?;
    number.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd as _, process, time::Duration};

    use super::*;

    #[test]
    fn finds_its_own_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = socket_inode(&link).unwrap();
        let netns = fs::metadata("/proc/self/ns/net").unwrap().ino();
        let sockets = HashSet::from([inode]);
        let deadline = Instant::now() + Duration::from_secs(10);
        // Inside the right namespace, and from another one.
        for netns in [u32::try_from(netns).unwrap(), 1] {
            let found = of_sockets(&sockets, netns, deadline);
            assert_eq!(found[&inode].pid, process::id());
            assert_eq!(found[&inode].comm, comm(process::id()));
        }
        assert!(of_sockets(&sockets, 1, Instant::now()).is_empty());
    }

    #[test]
    fn a_tun_file_names_its_device() {
        assert_eq!(attached("pos:\t0\nflags:\t02\niff:\ttun0\n"), Some("tun0"));
        assert_eq!(attached("pos:\t0\n"), None);
    }

    #[test]
    fn reads_socket_links_only() {
        assert_eq!(socket_inode(Path::new("socket:[4321]")), Some(4321));
        assert_eq!(socket_inode(Path::new("pipe:[4321]")), None);
        assert_eq!(socket_inode(Path::new("/dev/null")), None);
    }
}
