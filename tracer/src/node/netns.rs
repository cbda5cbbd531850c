//! Work inside a network namespace, within a time limit.
//!
//! A thread can be in another network namespace than its process (setns(2)), so each piece of work
//! gets a fresh thread, which enters the namespace, works, and ends. Work that takes longer than
//! its limit is **abandoned**: the caller gets an error at once, while the thread runs on until
//! the kernel lets it end; its result is thrown away. As a stuck thread cannot be stopped, there
//! is a limit to how many may run at the same time.

use std::{
    fmt, fs,
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::{fs::MetadataExt as _, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::statfs,
};
use tokio::{sync::oneshot, time};

/// More than these are not at work at the same time; if they are, they are stuck.
const MOST_THREADS: usize = 32;

/// Where namespaces are named: `ip netns` and the container runtimes, Docker.
const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// Which network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetnsRef {
    /// The one whydrop runs in.
    Own,
    /// The one at this path, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    Path(PathBuf),
    /// The one with this inode number, which is looked for when it is entered: in `/run/netns`,
    /// and in the processes there are.
    ///
    /// Inode numbers are reused once a namespace has gone. What is entered has this number now,
    /// and keeps it as long as the work lasts; whether it is the one that had the number earlier,
    /// only [`Inside::cookie`] can tell.
    Inode(u32),
}

impl fmt::Display for NetnsRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => write!(f, "own network namespace"),
            Self::Path(path) => write!(f, "network namespace {}", path.display()),
            Self::Inode(inode) => write!(f, "network namespace {inode}"),
        }
    }
}

/// Where the work finds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Inode number of the namespace.
    pub inode: u32,
    /// The kernel's number for the namespace, never used twice while the machine is up
    /// (`SO_NETNS_COOKIE`, since Linux 5.14).
    pub cookie: Option<u64>,
    /// When nobody waits for the result any more.
    pub deadline: Instant,
}

/// Does the work on a fresh thread inside the namespace, and waits for it, but no longer than the
/// limit.
///
/// What the work reads must be read per thread: `/proc/thread-self/net`, not `/proc/net`.
///
/// # Errors
///
/// There is no such namespace, it cannot be entered (that takes `CAP_SYS_ADMIN`), the work failed,
/// or it took too long; then its thread is abandoned.
pub fn in_netns<T, F>(netns: &NetnsRef, limit: Duration, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(Inside) -> Result<T> + Send + 'static,
{
    let (sender, receiver) = mpsc::sync_channel(1);
    start(netns, limit, work, move |result| {
        let _ = sender.send(result);
    })?;
    match receiver.recv_timeout(limit) {
        Ok(result) => result.with_context(|| netns.to_string()),
        Err(RecvTimeoutError::Timeout) => Err(too_long(netns, limit)),
        Err(RecvTimeoutError::Disconnected) => Err(panicked(netns)),
    }
}

/// Like [`in_netns`], without holding up the other tasks of a runtime. The runtime needs its timer,
/// and can be shut down while an abandoned thread still runs.
///
/// # Errors
///
/// As of [`in_netns`].
pub async fn in_netns_async<T, F>(netns: &NetnsRef, limit: Duration, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(Inside) -> Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    start(netns, limit, work, move |result| {
        let _ = sender.send(result);
    })?;
    match time::timeout(limit, receiver).await {
        Ok(Ok(result)) => result.with_context(|| netns.to_string()),
        Ok(Err(_)) => Err(panicked(netns)),
        Err(_) => Err(too_long(netns, limit)),
    }
}

fn too_long(netns: &NetnsRef, limit: Duration) -> anyhow::Error {
    anyhow!("{netns}: no answer within {} ms", limit.as_millis())
}

fn panicked(netns: &NetnsRef) -> anyhow::Error {
    anyhow!("{netns}: the thread that read from it panicked")
}

fn start<T, F>(
    netns: &NetnsRef,
    limit: Duration,
    work: F,
    deliver: impl FnOnce(Result<T>) + Send + 'static,
) -> Result<()>
where
    F: FnOnce(Inside) -> Result<T> + Send + 'static,
{
    let deadline = Instant::now() + limit;
    let place = Place::take()?;
    let netns = netns.clone();
    thread::Builder::new()
        .name("node-facts".to_owned())
        .spawn(move || {
            let result = enter(&netns, deadline).and_then(work);
            drop(place);
            deliver(result);
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// A place among the threads that may run at the same time.
struct Place;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Result<Self> {
        if TAKEN.fetch_add(1, Ordering::Relaxed) >= MOST_THREADS {
            TAKEN.fetch_sub(1, Ordering::Relaxed);
            bail!("{MOST_THREADS} threads are still reading from network namespaces");
        }
        Ok(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Moves this thread into the namespace.
pub(super) fn enter(netns: &NetnsRef, deadline: Instant) -> Result<Inside> {
    const OWN: &str = "/proc/thread-self/ns/net";
    let namespace = match netns {
        NetnsRef::Own => open(Path::new(OWN))?,
        NetnsRef::Path(path) => open(path)?,
        NetnsRef::Inode(inode) => find(*inode)?,
    };
    let inode = inode(&namespace)?;
    // Whoever is inside already needs no privilege.
    if fs::metadata(OWN).context(OWN)?.ino() != u64::from(inode) {
        setns(&namespace, CloneFlags::CLONE_NEWNET).context("cannot enter it")?;
    }
    Ok(Inside {
        inode,
        cookie: cookie(),
        deadline,
    })
}

/// Opens a namespace. As long as it is open, it does not go away, and its number stays its own.
fn open(path: &Path) -> Result<File> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    // A name under /run/netns whose namespace has gone is a plain file.
    let filesystem = statfs::fstatfs(&file).with_context(|| path.display().to_string())?;
    if filesystem.filesystem_type() != statfs::NSFS_MAGIC {
        bail!("{} is not a namespace", path.display());
    }
    Ok(file)
}

fn inode(namespace: &File) -> Result<u32> {
    let inode = namespace.metadata()?.ino();
    u32::try_from(inode).with_context(|| format!("inode number {inode} is out of range"))
}

/// Opens the namespace with this inode number.
fn find(wanted: u32) -> Result<File> {
    let is_wanted =
        |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.ino() == u64::from(wanted));
    let own = PathBuf::from("/proc/thread-self/ns/net");
    let named = NAMED.into_iter().flat_map(entries);
    let processes = entries("/proc").map(|process| process.join("ns/net"));
    std::iter::once(own)
        .chain(named)
        .chain(processes)
        .filter(|path| is_wanted(path))
        // Between looking and opening, the path may have come to mean another one.
        .filter_map(|path| open(&path).ok())
        .find(|namespace| inode(namespace).is_ok_and(|inode| inode == wanted))
        .context("not found: it has gone, or neither a name nor a visible process leads to it")
}

fn entries(directory: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// The cookie of this thread's network namespace, where the kernel has cookies.
fn cookie() -> Option<u64> {
    let socket = UnixDatagram::unbound().ok()?;
    let mut cookie = 0u64;
    let mut size = libc::socklen_t::try_from(size_of_val(&cookie)).ok()?;
    // SAFETY: `cookie` and `size` are valid places to write to, and `size` is that of `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    (result == 0).then_some(cookie)
}

/// Reads a file; one that is not there is not an error.
pub(super) fn read_if_there(path: &str) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow!(error).context(format!("cannot read {path}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn own_namespace_needs_no_privilege() {
        let by_number = fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
        let inside = in_netns(&NetnsRef::Own, LIMIT, Ok).unwrap();
        assert_eq!(u64::from(inside.inode), by_number);
        let again = in_netns(&NetnsRef::Inode(inside.inode), LIMIT, Ok).unwrap();
        assert_eq!((again.inode, again.cookie), (inside.inode, inside.cookie));
    }

    #[test]
    fn what_is_no_namespace_is_not_entered() {
        let path = NetnsRef::Path(PathBuf::from("/proc/self/comm"));
        let error = in_netns(&path, LIMIT, |_| Ok(())).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "network namespace /proc/self/comm: /proc/self/comm is not a namespace"
        );
        let error = in_netns(&NetnsRef::Inode(1), LIMIT, |_| Ok(())).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "network namespace 1: not found: it has gone, or neither a name nor a visible process \
             leads to it"
        );
    }

    #[test]
    fn slow_work_is_abandoned() {
        let (hold, held) = mpsc::channel::<()>();
        let limit = Duration::from_millis(20);
        let error = in_netns(&NetnsRef::Own, limit, move |_| {
            let _ = held.recv();
            Ok(())
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            "own network namespace: no answer within 20 ms"
        );
        drop(hold);
    }

    #[test]
    fn slow_work_does_not_hold_up_a_runtime() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (hold, held) = mpsc::channel::<()>();
        let limit = Duration::from_millis(20);
        let work = move |_| {
            let _ = held.recv();
            Ok(())
        };
        let slow = runtime.block_on(in_netns_async(&NetnsRef::Own, limit, work));
        assert!(slow.is_err());
        let quick = runtime.block_on(in_netns_async(&NetnsRef::Own, LIMIT, |_| Ok(7)));
        assert_eq!(quick.unwrap(), 7);
        drop(runtime);
        drop(hold);
    }

    #[test]
    fn panic_is_an_error() {
        let result = in_netns(&NetnsRef::Own, LIMIT, |_| -> Result<()> {
            panic!("on purpose")
        });
        assert_eq!(
            result.unwrap_err().to_string(),
            "own network namespace: the thread that read from it panicked"
        );
    }
}
