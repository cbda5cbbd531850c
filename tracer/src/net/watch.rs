//! Keeps an inventory current.
//!
//! The kernel reports each change; nothing is polled, except whether a namespace still exists
//! outside of the sockets in it, which would keep it alive. When messages were lost, everything is
//! listed again.

use std::{
    future::poll_fn,
    io,
    task::Poll,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use netlink_sys::Socket;
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::sleep_until,
};

use super::{
    Change, Inventory, Rtnetlink, address,
    link::{self, LinkEvent},
    message::{Message, messages},
    netlink,
    netns::Namespace,
    route,
};

/// Routes come in bursts, and only some of them matter.
const ROUTES_SETTLE: Duration = Duration::from_millis(200);
/// How many times longer than reading the routes took is the pause before they are read again.
const ROUTES_PAUSE: u32 = 20;
/// How often to look whether the namespaces still exist.
const EXISTENCE: Duration = Duration::from_secs(1);
/// Datagrams of one namespace in one go: others want their turn.
const BATCH: usize = 1024;

/// Groups of include/uapi/linux/rtnetlink.h.
mod group {
    pub(super) const LINK: u32 = 1;
    pub(super) const IPV4_ADDRESS: u32 = 5;
    pub(super) const IPV4_ROUTE: u32 = 7;
    pub(super) const IPV6_ADDRESS: u32 = 9;
    pub(super) const IPV6_ROUTE: u32 = 11;
}

/// Follows every change of the interfaces of some namespaces.
pub(crate) struct Watch {
    inventory: Inventory,
    feeds: Vec<Feed>,
    buffer: Vec<u8>,
    /// When to look whether the namespaces still exist.
    existence: Instant,
}

/// The sockets in one namespace.
struct Feed {
    namespace: Namespace,
    queries: Rtnetlink,
    changes: AsyncFd<Socket>,
    /// Apart from the other changes, so that a flood of routes loses routes only.
    routes: AsyncFd<Socket>,
    /// When to read the routes again, if they have changed.
    routes_due: Option<Instant>,
    routes_took: Duration,
}

impl Watch {
    /// Starts to listen in these namespaces, and lists what is there.
    ///
    /// # Errors
    ///
    /// A namespace cannot be entered or listed, or there is no runtime.
    pub(crate) fn start(namespaces: &[Namespace]) -> Result<Self> {
        let mut watch = Self {
            inventory: Inventory::default(),
            feeds: Vec::new(),
            buffer: netlink::buffer(),
            existence: Instant::now() + EXISTENCE,
        };
        for namespace in namespaces {
            let mut feed = Feed::open(namespace)?;
            feed.list(&mut watch.inventory)?;
            feed.list_routes(&mut watch.inventory)?;
            watch.inventory.table(namespace.inode).finish();
            watch.feeds.push(feed);
        }
        Ok(watch)
    }

    /// What is there now, as far as [`Watch::next`] has reported it.
    pub(crate) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Waits for changes, and returns all that have come. Can be cancelled without loss.
    ///
    /// # Errors
    ///
    /// Netlink fails.
    pub(crate) async fn next(&mut self) -> Result<Vec<Change>> {
        loop {
            tokio::select! {
                () = ready(&self.feeds) => {}
                () = sleep_until(self.due().into()) => {}
            }
            let changes = self.take()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// When to do something although no message came.
    fn due(&self) -> Instant {
        let routes = self.feeds.iter().filter_map(|feed| feed.routes_due);
        routes.fold(self.existence, Instant::min)
    }

    fn take(&mut self) -> Result<Vec<Change>> {
        let now = Instant::now();
        let mut changes = Vec::new();
        if self.existence <= now {
            self.existence = now + EXISTENCE;
            let inventory = &mut self.inventory;
            self.feeds.retain(|feed| {
                let exists = feed.namespace.exists();
                if !exists {
                    changes.extend(inventory.remove(feed.namespace.inode));
                }
                exists
            });
        }
        for feed in &mut self.feeds {
            feed.take(&mut self.inventory, &mut self.buffer)?;
            if feed.routes_due.is_some_and(|due| due <= now) {
                feed.list_routes(&mut self.inventory)?;
            }
            changes.extend(self.inventory.table(feed.namespace.inode).finish());
        }
        Ok(changes)
    }
}

fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its descriptor, which stays the same until the socket is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    Ok(registered?)
}

/// Waits until a feed has something to read.
async fn ready(feeds: &[Feed]) {
    poll_fn(|context| {
        let mut ready = false;
        // All of them, so that each wakes this task.
        for feed in feeds {
            ready |= feed.changes.poll_read_ready(context).is_ready();
            ready |= feed.routes.poll_read_ready(context).is_ready();
        }
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

impl Feed {
    /// Opens the sockets inside the namespace.
    fn open(namespace: &Namespace) -> Result<Self> {
        let sockets = namespace.enter(|| -> io::Result<_> {
            // First listen, then list: a change in between is received, too, and applied twice.
            let changes = [group::LINK, group::IPV4_ADDRESS, group::IPV6_ADDRESS];
            let routes = [group::IPV4_ROUTE, group::IPV6_ROUTE];
            Ok((
                netlink::listen(&changes)?,
                netlink::listen(&routes)?,
                Rtnetlink::open()?,
            ))
        })?;
        let (changes, routes, queries) = sockets.context("cannot open a netlink socket")?;
        Ok(Self {
            namespace: namespace.clone(),
            queries,
            changes: register(changes)?,
            routes: register(routes)?,
            routes_due: None,
            routes_took: Duration::ZERO,
        })
    }

    /// Takes what has come.
    fn take(&mut self, inventory: &mut Inventory, buffer: &mut [u8]) -> Result<()> {
        let netns = self.namespace.inode;
        let table = inventory.table(netns);
        let mut routes_changed = false;
        let lost = drain(&self.changes, buffer, |message| {
            if let Some(event) = link::event(message) {
                // The kernel says nothing of the routes that go with an interface.
                routes_changed |= match &event {
                    LinkEvent::Present(link) => !link.running,
                    LinkEvent::Gone(_) => true,
                };
                table.link(event);
            } else if let Some(event) = address::event(message) {
                table.address(event);
            }
        })?;
        routes_changed |= drain(&self.routes, buffer, |message| {
            routes_changed |= !route::gateways(message).is_empty();
        })?;
        if lost {
            log::debug!("netlink lost messages of the namespace {netns}: listing again");
            self.list(inventory)?;
        }
        if routes_changed || lost {
            let wait = ROUTES_SETTLE.max(self.routes_took * ROUTES_PAUSE);
            self.routes_due.get_or_insert_with(|| Instant::now() + wait);
        }
        Ok(())
    }

    /// Lists all interfaces and addresses.
    fn list(&mut self, inventory: &mut Inventory) -> Result<()> {
        // A list that keeps changing is taken as it is: the changes themselves are on their way.
        let links = self
            .queries
            .link_listing()
            .context("cannot list the network interfaces")?;
        let addresses = self
            .queries
            .address_listing()
            .context("cannot list the addresses")?;
        let table = inventory.table(self.namespace.inode);
        table.replace(links.items, addresses.items);
        Ok(())
    }

    /// Lists the routes with a gateway.
    fn list_routes(&mut self, inventory: &mut Inventory) -> Result<()> {
        let start = Instant::now();
        let gateways = self.queries.gateways().context("cannot list the routes")?;
        inventory.table(self.namespace.inode).gateways(gateways);
        self.routes_took = start.elapsed();
        self.routes_due = None;
        Ok(())
    }
}

/// Reads what there is: whether messages were lost.
fn drain(
    socket: &AsyncFd<Socket>,
    buffer: &mut [u8],
    mut each: impl FnMut(&Message<'_>),
) -> Result<bool> {
    let mut lost = false;
    // What was queued before the loss has to be read before listing again: an old message must not
    // bring back what is not listed any more.
    let mut left = BATCH;
    while left > 0 || lost {
        left = left.saturating_sub(1);
        match socket.try_io(Interest::READABLE, |socket| {
            netlink::receive(socket, buffer)
        }) {
            Ok(length) => messages(&buffer[..length]).for_each(|message| each(&message)),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => lost = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error).context("cannot read from netlink"),
        }
    }
    Ok(lost)
}
