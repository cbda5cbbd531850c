//! The answers of the kernel that runs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{AtHook, Judgment, Kernel, Packet, hook};
use crate::{
    model::Flow,
    net::{
        ConntrackEntry, RouteKey, Rtnetlink, conntrack_entry,
        netns::{NetnsRef, in_netns},
    },
    node::{
        programs::{self, Program},
        route::Lookup,
        ruleset::Ruleset,
        world::{Link, World},
    },
};

/// Asks the kernel, in the namespaces of a model. What is read once is kept: rulesets, and sockets to
/// ask for routes.
pub(crate) struct Live<'a> {
    world: &'a World,
    deadline: Instant,
    sockets: Kept<Mutex<Rtnetlink>>,
    rulesets: Kept<Ruleset>,
    /// By namespace, packet and zone.
    entries: Mutex<HashMap<(u32, Flow, u16), Entry>>,
}

type Entry = Result<Option<ConntrackEntry>, String>;

/// What was read of each namespace, or why it could not be read.
type Kept<T> = Mutex<HashMap<u32, Result<Arc<T>, String>>>;

impl<'a> Live<'a> {
    /// For the namespaces of this model, until the deadline.
    pub(crate) fn new(world: &'a World, deadline: Instant) -> Self {
        Self {
            world,
            deadline,
            sockets: Mutex::default(),
            rulesets: Mutex::default(),
            entries: Mutex::default(),
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn reference(&self, netns: u32) -> Result<&NetnsRef, String> {
        let gone = || format!("network namespace {netns} was not read");
        let namespace = self.world.namespace(netns).ok_or_else(gone)?;
        Ok(&namespace.reference)
    }

    fn socket(&self, netns: u32) -> Result<Arc<Mutex<Rtnetlink>>, String> {
        kept(&self.sockets, netns, || {
            let open = in_netns(self.reference(netns)?, self.left(), |_| {
                Ok(Mutex::new(Rtnetlink::open()?))
            });
            open.map_err(|error| format!("{error:#}"))
        })
    }

    fn ruleset(&self, netns: u32) -> Result<Arc<Ruleset>, String> {
        kept(&self.rulesets, netns, || {
            let read = in_netns(self.reference(netns)?, self.left(), |inside| {
                Ok(Ruleset::read(&inside))
            });
            read.map_err(|error| format!("{error:#}"))
        })
    }
}

impl Live<'_> {
    /// The entry of a packet that comes into a namespace.
    fn entry(&self, netns: u32, packet: Flow, zone: u16) -> Entry {
        let ask = || {
            in_netns(self.reference(netns)?, self.left(), move |_| {
                Ok(conntrack_entry(&packet, zone)?)
            })
            .map_err(|error| format!("{error:#}"))
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .entry((netns, packet, zone))
            .or_insert_with(ask)
            .clone()
    }
}

fn kept<T>(
    all: &Kept<T>,
    netns: u32,
    read: impl FnOnce() -> Result<T, String>,
) -> Result<Arc<T>, String> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(netns)
        .or_insert_with(|| read().map(Arc::new))
        .clone()
}

impl Kernel for Live<'_> {
    fn route(&self, netns: u32, key: RouteKey) -> Result<Lookup, String> {
        let socket = self.socket(netns)?;
        let socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        Lookup::read(&socket, key).map_err(|error| format!("the route cannot be read: {error:#}"))
    }

    fn pass(&self, at: &AtHook, packet: &Packet) -> Judgment {
        let ruleset = match self.ruleset(at.netns) {
            Ok(ruleset) => ruleset,
            Err(gap) => return Judgment::Undecided(gap),
        };
        let Some(zone) = hook::zone(self.world, self, &ruleset, (at, packet)) else {
            let want = "the conntrack zone that the rules put it in";
            return Judgment::Undecided(want.to_owned());
        };
        let packet = &Packet {
            zone,
            ..packet.clone()
        };
        // Without an answer, it is judged as a first packet.
        let entry = self.entry(at.netns, packet.original, zone).ok().flatten();
        hook::judge(self.world, self, &ruleset, entry.as_ref(), (at, packet))
    }

    fn programs(&self, link: &Link, is_ingress: bool) -> Result<Vec<Program>, String> {
        let (netns, ifindex) = (link.id.netns, link.id.ifindex);
        let read = in_netns(self.reference(netns)?, self.left(), move |_| {
            let rtnetlink = Rtnetlink::open()?;
            let mut gaps = Vec::new();
            let found = match rtnetlink.link(ifindex)? {
                Some(link) => programs::at_interface(&rtnetlink, &link, &mut gaps),
                None => Vec::new(),
            };
            Ok((found, gaps))
        });
        let (found, gaps) = read.map_err(|error| format!("{error:#}"))?;
        if let Some(gap) = gaps.into_iter().next() {
            return Err(gap);
        }
        let meets = |program: &Program| program.may_drop() && program.place.meets(is_ingress);
        Ok(found.into_iter().filter(meets).collect())
    }
}
