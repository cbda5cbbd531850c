//! Reads the node: all namespaces in parallel, one thread per processor, within a time limit.
//!
//! A thread enters one namespace after the other and lists what is wanted over rtnetlink. No list
//! makes the kernel load a module. What is not read in time is a gap.

mod ends;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Namespace, World,
    discover::{self, Found},
    link::{Link, LinkId, Tie},
};
use crate::net::{OtherLink, Rtnetlink, netns};

/// What can be read besides links and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    /// Forwarding databases of bridges.
    Fdb,
    /// VLANs of bridges and their ports.
    Vlans,
    /// Entries of ARP and ND.
    Neighbors,
    /// Policy rules.
    Rules,
    /// Settings of each namespace as a whole.
    Settings,
}

impl Part {
    /// All of them: a few milliseconds for some dozens of namespaces.
    pub(crate) fn all() -> Parts {
        [
            Self::Fdb,
            Self::Vlans,
            Self::Neighbors,
            Self::Rules,
            Self::Settings,
        ]
        .into()
    }
}

/// What is to be read.
pub(crate) type Parts = BTreeSet<Part>;

/// More threads than these are not at work at the same time; if they are, they are stuck.
const MOST_THREADS: usize = 64;
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

impl World {
    /// Reads all namespaces that can be entered, within the limit.
    pub(crate) fn read(parts: &Parts, limit: Duration) -> Self {
        let deadline = Instant::now() + limit;
        let job = Arc::new(Job {
            found: discover::all(),
            next: AtomicUsize::new(0),
            parts: parts.clone(),
            deadline,
        });
        let (sender, receiver) = mpsc::channel();
        let mut world = Self::default();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads.min(job.found.len()) {
            if let Err(error) = start(&job, &sender) {
                world.gaps.push(format!("{error:#}"));
            }
        }
        drop(sender);
        let (mut visits, mut failed) = (Vec::new(), Vec::new());
        let mut missing: BTreeSet<_> = (0..job.found.len()).collect();
        while !missing.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            let (place, visit) = match receiver.recv_timeout(left) {
                Ok(visit) => visit,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            };
            missing.remove(&place);
            match visit {
                Ok(visit) => visits.push(visit),
                Err(error) => failed.push((place, error)),
            }
        }
        if !failed.is_empty() {
            // One that has gone meanwhile has no addresses, and nothing about it is unknown.
            let left: BTreeSet<_> = discover::all().iter().map(|found| found.inode).collect();
            failed.retain(|(place, _)| left.contains(&job.found[*place].inode));
        }
        world.gaps.extend(failed.iter().map(|(place, error)| {
            let name = &job.found[*place].name;
            format!("the network namespace {name} cannot be read: {error:#}")
        }));
        world.gaps.extend(missing.into_iter().map(|place| {
            let name = &job.found[place].name;
            format!(
                "the network namespace {name} was not read within {} ms",
                limit.as_millis()
            )
        }));
        ends::tie(&mut world, visits);
        world
    }
}

/// What the threads share.
struct Job {
    found: Vec<Found>,
    next: AtomicUsize,
    parts: Parts,
    deadline: Instant,
}

/// What a visit to a namespace brought back. The socket goes on asking there.
struct Visit {
    namespace: Namespace,
    rtnetlink: Rtnetlink,
    ties: Vec<(u32, OtherLink)>,
    gaps: Vec<String>,
}

type Visited = (usize, Result<Visit>);

fn start(job: &Arc<Job>, sender: &Sender<Visited>) -> Result<()> {
    let place = AtWork::take()?;
    let (job, sender) = (Arc::clone(job), sender.clone());
    let work = move || {
        let _place = place;
        while Instant::now() < job.deadline {
            let next = job.next.fetch_add(1, Ordering::Relaxed);
            let Some(found) = job.found.get(next) else {
                break;
            };
            if sender.send((next, visit(found, &job))).is_err() {
                break;
            }
        }
    };
    let thread = thread::Builder::new().name("node-model".to_owned());
    thread.spawn(work).context("cannot start a thread")?;
    Ok(())
}

/// One of the threads that may be at work at the same time.
struct AtWork;

impl AtWork {
    fn take() -> Result<Self> {
        let taken = Self;
        let before = AT_WORK.fetch_add(1, Ordering::Relaxed);
        ensure!(
            before < MOST_THREADS,
            "{MOST_THREADS} threads are still reading network namespaces"
        );
        Ok(taken)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::Relaxed);
    }
}

fn visit(found: &Found, job: &Job) -> Result<Visit> {
    let inside = netns::enter(&found.reference, job.deadline)?;
    ensure!(inside.inode == found.inode, "it has gone");
    let rtnetlink = Rtnetlink::open()?;
    let mut links = BTreeMap::new();
    let mut ties = Vec::new();
    for link in rtnetlink.links()? {
        let ifindex = link.ifindex;
        ties.extend(link.other.map(|other| (ifindex, other)));
        let id = LinkId {
            netns: found.inode,
            ifindex,
        };
        let link = Link {
            id,
            reported: link,
            tie: Tie::None,
        };
        links.insert(ifindex, link);
    }
    let mut visit = Visit {
        namespace: Namespace {
            inode: found.inode,
            name: found.name.clone(),
            reference: found.reference.clone(),
            links,
            addresses: rtnetlink.addresses()?,
            fdb: None,
            vlans: None,
            neighbors: None,
            proxy_entries: None,
            rules: None,
            settings: None,
        },
        rtnetlink,
        ties,
        gaps: Vec::new(),
    };
    for part in &job.parts {
        visit.part(*part, job.deadline);
    }
    Ok(visit)
}

impl Visit {
    fn part(&mut self, part: Part, deadline: Instant) {
        if Instant::now() >= deadline {
            let name = &self.namespace.name;
            let gap = format!("no time was left for {part:?} of the network namespace {name}");
            self.gaps.push(gap);
            return;
        }
        let namespace = &mut self.namespace;
        let read = match part {
            Part::Fdb => keep(&mut namespace.fdb, self.rtnetlink.bridge_fdb()),
            Part::Vlans => keep(&mut namespace.vlans, self.rtnetlink.vlans()),
            Part::Neighbors => keep(&mut namespace.neighbors, self.rtnetlink.neighbors())
                .and_then(|()| keep(&mut namespace.proxy_entries, self.rtnetlink.proxy_entries())),
            Part::Rules => keep(&mut namespace.rules, self.rtnetlink.rules()),
            Part::Settings => keep(&mut namespace.settings, settings::read()),
        };
        if let Err(error) = read {
            let name = &self.namespace.name;
            let gap = format!("{part:?} of the network namespace {name} cannot be read: {error:#}");
            self.gaps.push(gap);
        }
    }
}

fn keep<T, E: Into<anyhow::Error>>(place: &mut Option<T>, read: Result<T, E>) -> Result<()> {
    *place = Some(read.map_err(Into::into)?);
    Ok(())
}
