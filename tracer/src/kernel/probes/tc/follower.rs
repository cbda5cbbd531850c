//! Attaching to new interfaces, on a thread of its own: each attachment and detachment waits for the
//! RTNL, which others may hold for seconds.

use std::{
    collections::BTreeMap,
    io,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{Attachment, Key, TcProbes};
use crate::{
    net::{Change, Interface},
    words,
};

/// How long a new interface is left alone. What comes in numbers is known as that by then, and is
/// not attached to at all.
const SETTLE: Duration = Duration::from_millis(100);

/// The thread, seen from the trace.
pub(crate) struct Follower {
    /// `None` once it is to end.
    orders: Option<mpsc::Sender<Order>>,
    reports: UnboundedReceiver<Report>,
    /// Orders that were given.
    given: u64,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Follow(Vec<Change>),
    Everywhere,
}

/// All orders so far are carried out.
struct Report {
    done: u64,
    unwatched: Option<String>,
}

impl Follower {
    /// Starts the thread, which keeps these probes until the end.
    ///
    /// # Errors
    ///
    /// No thread can be had.
    pub(crate) fn start(tc: TcProbes) -> io::Result<Self> {
        let (orders, to_do) = mpsc::channel();
        let (reporter, reports) = unbounded_channel();
        let thread = thread::Builder::new()
            .name("interfaces".to_owned())
            .spawn(move || Worker::new(tc, reporter).run(&to_do))?;
        Ok(Self {
            orders: Some(orders),
            reports,
            given: 0,
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

    /// The tracepoints see the packets of all interfaces: there is nothing to attach any more.
    pub(crate) fn everywhere(&mut self) {
        self.order(Order::Everywhere);
    }

    /// Waits until all orders are carried out. Returns a sentence about the interfaces without probes.
    /// Can be canceled without loss.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            match self.reports.recv().await {
                Some(report) if report.done == self.given => return report.unwatched,
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
    /// Detaches.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// What the thread has.
struct Worker {
    tc: TcProbes,
    /// What is to be attached to.
    pending: BTreeMap<Key, Interface>,
    /// When the next one is attached to.
    due: Option<Instant>,
    done: u64,
    reporter: UnboundedSender<Report>,
}

impl Worker {
    fn new(tc: TcProbes, reporter: UnboundedSender<Report>) -> Self {
        Self {
            tc,
            pending: BTreeMap::new(),
            due: None,
            done: 0,
            reporter,
        }
    }

    fn run(&mut self, orders: &mpsc::Receiver<Order>) {
        loop {
            let order = match self.due {
                Some(due) => orders.recv_timeout(due.saturating_duration_since(Instant::now())),
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
                let report = Report {
                    done: self.done,
                    unwatched: self.tc.degraded(),
                };
                self.reporter.send(report).ok();
            }
        }
    }

    fn take(&mut self, order: Order) {
        self.done += 1;
        let now = Instant::now();
        match order {
            Order::Everywhere => {
                self.tc.everywhere();
                self.due = Some(now);
            }
            Order::Follow(changes) => {
                for change in &changes {
                    if let Change::Gone { netns, ifindex } = change {
                        self.pending.remove(&(*netns, *ifindex));
                    }
                }
                let present = self.tc.let_go(&changes);
                let present = present.into_iter().map(|(key, new)| (key, new.clone()));
                self.pending.extend(present);
                let wait = match self.tc.attachment() {
                    Attachment::Tracepoints => Duration::ZERO,
                    _ => SETTLE,
                };
                self.due.get_or_insert(now + wait);
            }
        }
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
