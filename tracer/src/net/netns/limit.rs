//! Work inside a network namespace, within a time limit.
//!
//! Each piece of work gets a fresh thread, which enters the namespace, works, and ends. Work that
//! takes longer than its limit is **abandoned**: the caller gets an error at once, while the thread
//! runs on until the kernel lets it end; its result is thrown away. As a stuck thread cannot be
//! stopped, there is a limit to how many may run at the same time.

use std::{
    os::{fd::AsRawFd as _, unix::net::UnixDatagram},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::{sync::oneshot, time};

use super::{NetnsRef, enter::this_thread};

/// More than these are not at work at the same time; if they are, they are stuck.
const MOST_THREADS: usize = 32;

/// Where the work finds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inside {
    /// Inode number of the namespace.
    pub(crate) inode: u32,
    /// The kernel's number for the namespace, never used twice while the machine is up
    /// (`SO_NETNS_COOKIE`, since Linux 5.14).
    pub(crate) cookie: Option<u64>,
    /// When the result is no longer awaited.
    pub(crate) deadline: Instant,
}

impl Inside {
    /// When half of the time that is left has passed: for what is worth less than the rest.
    pub(crate) fn half_time(&self) -> Instant {
        let now = Instant::now();
        now + self.deadline.saturating_duration_since(now) / 2
    }
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
pub(crate) fn in_netns<T, F>(netns: &NetnsRef, limit: Duration, work: F) -> Result<T>
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
pub(crate) async fn in_netns_async<T, F>(netns: &NetnsRef, limit: Duration, work: F) -> Result<T>
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

/// Moves this thread into the namespace, for good or until it enters another one. Only a thread that
/// does nothing else may do so.
///
/// # Errors
///
/// There is no such namespace, or it cannot be entered (that takes `CAP_SYS_ADMIN`).
pub(crate) fn enter(netns: &NetnsRef, deadline: Instant) -> Result<Inside> {
    Ok(Inside {
        inode: this_thread(netns)?,
        cookie: cookie(),
        deadline,
    })
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, sync::mpsc};

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
