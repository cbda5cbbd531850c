//! Attaching to new interfaces, on a thread of its own: each attachment and detachment waits for the
//! RTNL, which others may hold for seconds. The same thread loads the programs that see all interfaces
//! at once, which takes the kernel a second or two: meanwhile, nothing is attached one by one.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Attachment, Key, TcProbes};
use crate::{
    kernel::{priority::be_nice, probes::Programs},
    net::{Change, Interface},
    words,
};

/// How long it has to be quiet before the first new interface is attached to. What comes in numbers is
/// known as that by then, and is not attached to at all.
const SETTLE: Duration = Duration::from_millis(100);
/// How long new interfaces wait where it is never quiet.
const WAITS: Duration = Duration::from_millis(500);

/// The thread, seen from the trace.
pub(crate) struct Follower {
    /// `None` once it is to end.
    orders: Option<mpsc::Sender<Order>>,
    reports: UnboundedReceiver<Followed>,
    /// Orders that were given.
    given: u64,
    /// Whether the thread cannot be stopped quickly, and has nothing that the kernel would not take back.
    is_loading: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Follow(Vec<Change>),
    Everywhere,
}

/// What the thread has done.
#[derive(Debug)]
pub(crate) struct Followed {
    /// The orders that are carried out.
    done: u64,
    /// A sentence about the interfaces without probes.
    pub(crate) unwatched: Option<String>,
    /// Whether the tracepoints see the packets of all interfaces, as was ordered.
    pub(crate) is_everywhere: bool,
}

impl Follower {
    /// Starts the thread, which keeps these probes and their programs until the end.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub(crate) fn start(tc: TcProbes, programs: Programs) -> io::Result<Self> {
        let (orders, to_do) = mpsc::channel();
        let (reporter, reports) = unbounded_channel();
        let is_loading = Arc::new(AtomicBool::new(false));
        let mut worker = Worker::new(tc, programs, reporter, Arc::clone(&is_loading));
        let thread = thread::Builder::new()
            .name("interfaces".to_owned())
            .spawn(move || worker.run(&to_do))?;
        Ok(Self {
            orders: Some(orders),
            reports,
            given: 0,
            is_loading,
            thread: Some(thread),
        })
    }

    /// Orders it to attach to new interfaces, and to forget those that have gone. Returns a sentence
    /// about what is not seen until then.
    pub(crate) fn follow(&mut self, changes: &[Change]) -> String {
        self.order(Order::Follow(changes.to_vec()));
        let new = changes
            .iter()
            .filter(|change| matches!(change, Change::Appeared(_)));
        let new = words::count(new.count() as u64, "new interface");
        format!("the probes are not yet at {new}")
    }

    /// Orders it to have the tracepoints see the packets of all interfaces. What is new is not attached to
    /// from now on, unless the kernel refuses that.
    pub(crate) fn everywhere(&mut self) {
        self.order(Order::Everywhere);
    }

    /// Waits until all orders are carried out, or the tracepoints see everything. Can be canceled without
    /// loss.
    pub(crate) async fn next(&mut self) -> Followed {
        loop {
            match self.reports.recv().await {
                Some(report) if report.done == self.given || report.is_everywhere => return report,
                Some(_) => {}
                // The thread has failed, which the panic hook has reported.
                None => std::future::pending().await,
            }
        }
    }

    fn order(&mut self, order: Order) {
        self.given += 1;
        if let Some(orders) = &self.orders {
            orders.send(order).ok();
        }
    }
}

impl Drop for Follower {
    /// Detaches, unless the thread is loading: the process ends sooner than that, and the kernel takes it
    /// all back.
    fn drop(&mut self) {
        self.orders = None;
        let is_loading = self.is_loading.load(Ordering::Acquire);
        if let Some(thread) = self.thread.take().filter(|_| !is_loading) {
            thread.join().ok();
        }
    }
}

/// What the thread has.
struct Worker {
    tc: TcProbes,
    programs: Programs,
    is_loading: Arc<AtomicBool>,
    /// What is to be attached to.
    pending: BTreeMap<Key, Interface>,
    /// When the next one is attached to, and when it is at the latest.
    due: Option<(Instant, Instant)>,
    done: u64,
    reporter: UnboundedSender<Followed>,
}

impl Worker {
    fn new(
        tc: TcProbes,
        programs: Programs,
        reporter: UnboundedSender<Followed>,
        is_loading: Arc<AtomicBool>,
    ) -> Self {
        Self {
            tc,
            programs,
            is_loading,
            pending: BTreeMap::new(),
            due: None,
            done: 0,
            reporter,
        }
    }

    fn run(&mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let order = match self.due {
                Some((due, _)) => {
                    orders.recv_timeout(due.saturating_duration_since(Instant::now()))
                }
                None => orders.recv().map_err(RecvTimeoutError::from),
            };
            match order {
                Ok(order) => self.take(order),
                // One at a time: an order may call the others off.
                Err(RecvTimeoutError::Timeout) => self.attach_one(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.pending.is_empty() {
                self.due = None;
                self.report();
            }
        }
    }

    fn report(&self) {
        let report = Followed {
            done: self.done,
            unwatched: self.tc.degraded(),
            is_everywhere: self.tc.attachment() == Attachment::Tracepoints,
        };
        self.reporter.send(report).ok();
    }

    fn take(&mut self, order: Order) {
        self.done += 1;
        let now = Instant::now();
        match order {
            Order::Everywhere => self.everywhere(),
            Order::Follow(changes) => {
                for change in &changes {
                    if let Change::Gone { netns, ifindex } = change {
                        self.pending.remove(&(*netns, *ifindex));
                    }
                }
                let present = self.tc.let_go(&changes);
                let present = present.into_iter().map(|(key, new)| (key, new.clone()));
                self.pending.extend(present);
                let (_, latest) = self.due.unwrap_or((now, now + WAITS));
                let due = match self.tc.attachment() {
                    Attachment::Tracepoints => now,
                    _ => latest.min(now + SETTLE),
                };
                self.due = Some((due, latest));
            }
        }
    }

    /// Loads the programs at the tracepoints. Where the kernel refuses them, it goes on as before.
    fn everywhere(&mut self) {
        // Filters of clsact have to be removed by this process.
        let is_taken_back = self.tc.attachment() != Attachment::Clsact;
        self.is_loading.store(is_taken_back, Ordering::Release);
        let watches = self.load_everywhere();
        self.is_loading.store(false, Ordering::Release);
        match watches {
            Ok(true) => {
                self.tc.everywhere();
                self.report();
            }
            Ok(false) => {}
            Err(error) => log::info!("the tracepoints cannot take over: {error:#}"),
        }
        self.due = Some((Instant::now(), Instant::now()));
    }

    /// The kernel verifies them for a second, on a processor that those who make the interfaces need as
    /// well: on a thread of its own, as this one may not be slow with the RTNL.
    fn load_everywhere(&mut self) -> Result<bool> {
        let programs = &mut self.programs;
        let load = move || {
            be_nice();
            programs.watch_everywhere()
        };
        thread::scope(|scope| scope.spawn(load).join())
            .unwrap_or_else(|_| bail!("the thread that loads has failed"))
    }

    /// What leads off the node comes first.
    fn attach_one(&mut self) {
        let uplink = self.pending.iter().find(|(_, new)| new.is_uplink);
        let key = uplink.or(self.pending.iter().next()).map(|(key, _)| *key);
        if let Some(interface) = key.and_then(|key| self.pending.remove(&key)) {
            self.tc.attach([&interface]);
        }
    }
}
