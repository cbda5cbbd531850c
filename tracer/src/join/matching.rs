//! Which attempts of several nodes are one: the same ISN (or DNS id and question), and an end in
//! common.
//!
//! NAT changes one end of a flow at a time, so that what a node passes on still has an end by which
//! the next node knows it. A tunnel's flow does not matter for that.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Leg, trace::Trace};
use crate::model::{AttemptReport, DropReport, Protocol, SocketAddress};

/// What one node saw of an attempt.
#[derive(Debug, Clone)]
pub(super) struct Sight<'a> {
    /// Which trace.
    pub(super) node: usize,
    /// The attempt; `None` where the node saw it dropped only.
    pub(super) attempt: Option<&'a AttemptReport>,
    /// The drop that the node saw of a SYN which it did not see as an attempt.
    pub(super) dropped: Option<&'a DropReport>,
}

/// What is the same at every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'a> {
    Tcp(u32),
    Dns(u16, &'a str, &'a str),
}

/// By what a node knows an attempt again: what is the same everywhere, and one of its ends.
type Mark<'a> = (Key<'a>, Protocol, SocketAddress);

/// The attempts, each with what the nodes saw of it, in the order of its way.
pub(super) fn groups(traces: &[Trace]) -> Vec<Vec<Sight<'_>>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (node, trace) in traces.iter().enumerate() {
        let mut open = Open::all(&groups);
        for attempt in &trace.attempts {
            // Without a key it cannot be known at another node.
            let Some(key) = key(attempt) else {
                continue;
            };
            let sight = Sight {
                node,
                attempt: Some(attempt),
                dropped: None,
            };
            let marks = marks(key, attempt);
            let place = open.first(&marks).unwrap_or_else(|| {
                groups.push(Group::default());
                groups.len() - 1
            });
            open.take(place, &groups[place]);
            groups[place].sights.push(sight);
            groups[place].marks.extend(marks);
        }
    }
    add_drops(traces, &mut groups);
    let sights = groups.into_iter().map(|group| group.sights);
    sights.map(ordered).collect()
}

/// An attempt, as far as it is known.
#[derive(Debug, Default)]
struct Group<'a> {
    sights: Vec<Sight<'a>>,
    marks: HashSet<Mark<'a>>,
}

/// The attempts that one node has not shown yet, by their marks.
struct Open<'a>(HashMap<Mark<'a>, BTreeSet<usize>>);

impl<'a> Open<'a> {
    fn all(groups: &[Group<'a>]) -> Self {
        let mut all: HashMap<_, BTreeSet<_>> = HashMap::new();
        for (place, group) in groups.iter().enumerate() {
            for mark in &group.marks {
                all.entry(*mark).or_default().insert(place);
            }
        }
        Self(all)
    }

    /// The first one that has one of these marks.
    fn first(&self, marks: &HashSet<Mark<'a>>) -> Option<usize> {
        let places = marks.iter().filter_map(|mark| self.0.get(mark)?.first());
        places.min().copied()
    }

    /// The node shows it.
    fn take(&mut self, place: usize, group: &Group<'a>) {
        for mark in &group.marks {
            if let Some(places) = self.0.get_mut(mark) {
                places.remove(&place);
            }
        }
    }
}

/// Adds the nodes that saw a SYN only when it was dropped, before any interface showed it.
fn add_drops<'a>(traces: &'a [Trace], groups: &mut [Group<'a>]) {
    for (node, trace) in traces.iter().enumerate() {
        let mut open = Open::all(groups);
        for (place, group) in groups.iter().enumerate() {
            if group.sights.iter().any(|sight| sight.node == node) {
                open.take(place, group);
            }
        }
        for drop in &trace.drops {
            let Some(seq) = drop.packet.as_ref().and_then(|packet| packet.seq) else {
                continue;
            };
            let flow = drop.flow;
            let ends = [flow.source(), flow.destination()];
            let marks = ends.map(|end| (Key::Tcp(seq), flow.proto, end)).into();
            while let Some(place) = open.first(&marks) {
                open.take(place, &groups[place]);
                groups[place].sights.push(Sight {
                    node,
                    attempt: None,
                    dropped: Some(drop),
                });
            }
        }
    }
}

fn key(attempt: &AttemptReport) -> Option<Key<'_>> {
    match (&attempt.dns, attempt.isn) {
        (Some(dns), _) => Some(Key::Dns(dns.id?, &dns.question, &dns.qtype)),
        (None, isn) => isn.map(Key::Tcp),
    }
}

/// Both ends of the attempt, as each of its hops had them. A port alone is no end.
fn marks<'a>(key: Key<'a>, attempt: &AttemptReport) -> HashSet<Mark<'a>> {
    let hops = attempt.hops.iter().filter_map(|hop| hop.flow);
    let flows = hops.chain([attempt.flow]).chain(attempt.translated);
    flows
        .flat_map(|flow| [flow.source(), flow.destination()])
        .map(|end| (key, attempt.flow.proto, end))
        .collect()
}

/// In the order of the way: each node sends to the next one what that one sees first.
fn ordered(mut sights: Vec<Sight<'_>>) -> Vec<Sight<'_>> {
    let mut way = Vec::new();
    while !sights.is_empty() {
        let next = match way.last() {
            Some(last) => sights.iter().position(|next| leads_to(last, next)),
            None => None,
        };
        let next = next.unwrap_or_else(|| start(&sights));
        way.push(sights.remove(next));
    }
    way
}

/// The node that no other one leads to; of several the one that saw it first, by its own clock.
fn start(sights: &[Sight<'_>]) -> usize {
    let led_to = |sight: &Sight<'_>| sights.iter().any(|other| leads_to(other, sight));
    let order = |sight: &Sight<'_>| {
        let seen = sight.attempt.map(|attempt| attempt.ts);
        // One that only dropped it has not passed it on.
        (led_to(sight), seen.is_none(), seen)
    };
    let first = sights
        .iter()
        .enumerate()
        .min_by_key(|(_, sight)| order(sight));
    first.map_or(0, |(place, _)| place)
}

/// Whether what left one node last is what another saw first.
fn leads_to(from: &Sight<'_>, to: &Sight<'_>) -> bool {
    let both = from.attempt.zip(to.attempt);
    both.is_some_and(|(from, to)| Leg::There.crosses(from, to))
}
