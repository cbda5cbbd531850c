//! Which attempts of several nodes are one: the same ISN (or DNS id and question), and an end in
//! common.
//!
//! NAT changes one end of a flow at a time, so that what a node passes on still has an end by which
//! the next node knows it. A tunnel's flow does not matter for that.

use std::collections::{BTreeMap, BTreeSet};

use super::{Leg, trace::Trace};
use crate::model::{AttemptReport, DropReport, SocketAddress};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Tcp(u32),
    Dns(u16, String, String),
}

/// The attempts, each with what the nodes saw of it, in the order of its way.
pub(super) fn groups(traces: &[Trace]) -> Vec<Vec<Sight<'_>>> {
    let mut by_key: BTreeMap<Key, Vec<Vec<Sight<'_>>>> = BTreeMap::new();
    for (node, trace) in traces.iter().enumerate() {
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
            let groups = by_key.entry(key).or_default();
            let known = groups.iter_mut().find(|group| {
                let is_new = group.iter().all(|other| other.node != node);
                is_new && group.iter().any(|other| is_same(other, attempt))
            });
            match known {
                Some(group) => group.push(sight),
                None => groups.push(vec![sight]),
            }
        }
    }
    add_drops(traces, &mut by_key);
    by_key.into_values().flatten().map(ordered).collect()
}

/// Adds the nodes that saw a SYN only when it was dropped, before any interface showed it.
fn add_drops<'a>(traces: &'a [Trace], by_key: &mut BTreeMap<Key, Vec<Vec<Sight<'a>>>>) {
    for (node, trace) in traces.iter().enumerate() {
        for drop in &trace.drops {
            let Some(seq) = drop.packet.as_ref().and_then(|packet| packet.seq) else {
                continue;
            };
            let ends = BTreeSet::from([drop.flow.source(), drop.flow.destination()]);
            let groups = by_key.get_mut(&Key::Tcp(seq)).into_iter().flatten();
            for group in groups {
                let is_new = group.iter().all(|other| other.node != node);
                let fits = group
                    .iter()
                    .filter_map(|sight| sight.attempt)
                    .any(|attempt| !ends_of(attempt).is_disjoint(&ends));
                if is_new && fits {
                    group.push(Sight {
                        node,
                        attempt: None,
                        dropped: Some(drop),
                    });
                }
            }
        }
    }
}

fn key(attempt: &AttemptReport) -> Option<Key> {
    match (&attempt.dns, attempt.isn) {
        (Some(dns), _) => Some(Key::Dns(dns.id?, dns.question.clone(), dns.qtype.clone())),
        (None, isn) => isn.map(Key::Tcp),
    }
}

fn is_same(sight: &Sight<'_>, attempt: &AttemptReport) -> bool {
    let Some(other) = sight.attempt else {
        return false;
    };
    other.flow.proto == attempt.flow.proto && !ends_of(other).is_disjoint(&ends_of(attempt))
}

/// Both ends of the attempt, as each of its hops had them. A port alone is no end.
fn ends_of(attempt: &AttemptReport) -> BTreeSet<SocketAddress> {
    let hops = attempt.hops.iter().filter_map(|hop| hop.flow);
    let flows = hops.chain([attempt.flow]).chain(attempt.translated);
    flows
        .flat_map(|flow| [flow.source(), flow.destination()])
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
