//! Reads what a drop asks of the node.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_common::tunnel::Tunnel;

use super::{NodeFacts, Wants};
use crate::{
    decode::{drop::DropFacts, tracked::Tracked},
    model::{Flow, Hook},
    net::{
        Rtnetlink, conntrack_entry,
        netns::{Inside, NetnsRef, in_netns_async},
    },
    node::{
        bypass::{self, Arrival, Destination, Leads},
        conntrack::Conntrack,
        gather::{Carrier, DropContext, Fact, Question},
        queue_program::QueueProgram,
        translation::LostTranslation,
        way::{Packet, Start, Walked},
        world::{LinkId, Part, World},
    },
};

/// How long the node may take to answer. It takes milliseconds, unless the machine is very busy;
/// then a late verdict is better than a poor one.
const LIMIT: Duration = Duration::from_millis(1500);

/// The same where netfilter rules are read: there can be a hundred thousand.
const LIMIT_OF_RULES: Duration = Duration::from_secs(4);

/// The same where records are there already, and are corrected: for all of them together.
const LIMIT_OF_LATE_RULES: Duration = Duration::from_secs(60);

/// Hops that are enough to see a packet go around on this node, where one has used up all that it had.
const HOPS_OF_A_LOOP: u8 = 16;

/// Why a rule is not certain.
const CHANGED: &str = "the netfilter rules may have changed between the drop and their reading";

impl NodeFacts {
    /// Reads more facts about a drop, in its namespace. `earlier` was read before the drop, about
    /// another one like it.
    pub(crate) async fn gather(
        facts: Arc<DropFacts>,
        wants: Wants,
        earlier: Option<Arc<Self>>,
    ) -> Self {
        let wants_world = wants.0.contains(&Fact::World);
        let walk = way(&facts).filter(|_| wants.0.contains(&Fact::Way));
        let translation = facts.untranslated;
        let lost_translation = async {
            let read = LostTranslation::read(translation?, LIMIT).await;
            read.ok().flatten()
        };
        let walked = async {
            match walk {
                Some((start, packet)) => Some(Walked::of(start, packet, LIMIT).await),
                None if wants_world => Some(Walked {
                    world: World::recent_async(Part::all(), LIMIT).await,
                    ..Walked::default()
                }),
                None => None,
            }
        };
        let limit = match wants.0.contains(&Fact::Ruleset) {
            true => LIMIT_OF_RULES,
            false => LIMIT,
        };
        let inside = Self::gather_inside(facts, wants, earlier, limit);
        let (mut found, walked, lost) = tokio::join!(inside, walked, lost_translation);
        found.lost_translation = lost;
        if let Some(Walked { world, ways, .. }) = walked {
            found.gaps.extend(world.gap());
            found.world = Some(world);
            found.ways = ways;
        }
        found
    }

    /// Reads the facts about drops of one namespace again, one after the other, waiting for its rules. If
    /// nf_tables has another `generation` of them by then, a rule may have come since, and nothing is
    /// certain.
    pub(crate) async fn gather_late(
        drops: Vec<(Arc<DropFacts>, Wants)>,
        generation: Option<u32>,
    ) -> Vec<Self> {
        let mut all = Vec::new();
        let deadline = Instant::now() + LIMIT_OF_LATE_RULES;
        for (facts, wants) in drops {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut found = Self::gather_inside(facts, wants, None, left).await;
            let is_same = generation.is_some() && found.generation == generation;
            if let Some(suspects) = found.suspects.as_mut().filter(|_| !is_same) {
                suspects.certain = false;
                found.gaps.push(CHANGED.to_owned());
            }
            all.push(found);
        }
        all
    }

    async fn gather_inside(
        facts: Arc<DropFacts>,
        wants: Wants,
        earlier: Option<Arc<Self>>,
        limit: Duration,
    ) -> Self {
        let Some(netns) = facts.netns.map(NetnsRef::Inode) else {
            return Self::default();
        };
        let read = in_netns_async(&netns, limit, move |inside| {
            let mut found = Self::default();
            if wants.0.contains(&Fact::Ruleset) {
                found.read_ruleset(&inside, &facts, earlier.as_deref());
            }
            if wants.0.contains(&Fact::Proxy) {
                found.read_proxies(&inside, &facts);
            }
            if wants.0.contains(&Fact::QueueProgram) {
                found.queue_program = QueueProgram::read(facts.thread, &facts.comm);
            }
            if wants.0.contains(&Fact::Destination) {
                found.read_destination(&inside, &facts);
            }
            if wants.0.contains(&Fact::Conntrack) {
                found.read_conntrack(&inside, &facts);
            }
            if wants.0.iter().any(|fact| fact.is_around()) {
                found.read_around(inside, &facts, wants.0);
            }
            Ok(found)
        });
        read.await.unwrap_or_else(|error| Self {
            gaps: vec![format!("{error:#}")],
            ..Self::default()
        })
    }

    fn read_destination(&mut self, inside: &Inside, facts: &DropFacts) {
        let entry = facts.wire.as_ref().and_then(|wire| wire.entry);
        let Some((original, _)) = entry else { return };
        let came_in = facts.iif != 0;
        let link = || Rtnetlink::open().ok()?.link(facts.iif).ok()?;
        let link = came_in.then(link).flatten();
        let arrival = Arrival {
            hook: if came_in {
                Hook::Prerouting
            } else {
                Hook::Output
            },
            // Rules see the bridge where a packet comes in through one of its ports.
            ifname: link
                .filter(|link| link.master.is_none())
                .map(|link| link.name),
            flow: Flow::from(&original),
        };
        let there = facts.flow.destination();
        if arrival.flow.destination() != there {
            self.leads = Leads::read(inside, &arrival, there);
        }
        match Destination::read(inside, &arrival) {
            Ok(destination) => self.destination = destination,
            Err(error) => self.gaps.push(format!("{error:#}")),
        }
    }

    fn read_conntrack(&mut self, inside: &Inside, facts: &DropFacts) {
        let lacks_entry = matches!(facts.tracked, Tracked::Untracked | Tracked::Nothing);
        if lacks_entry && facts.reason.is("NO_SOCKET") {
            let entry = conntrack_entry(&facts.flow, 0).ok().flatten();
            let entry = entry.filter(|entry| entry.is_reply(&facts.flow));
            self.answered = entry.filter(|_| !bypass::may_have_zones(inside));
        }
        match Conntrack::read(inside, facts.wire.as_deref()) {
            Ok(conntrack) => self.conntrack = conntrack,
            Err(error) => self.gaps.push(format!("{error:#}")),
        }
    }

    fn read_around(&mut self, inside: Inside, facts: &DropFacts, wanted: BTreeSet<Fact>) {
        let question = Question {
            ifname: facts.ifname.clone(),
            ifindex: facts.key.ifindex,
            src: facts.flow.src,
            dst: facts.flow.dst,
            dport: facts.flow.dport,
            proto: facts.key.flow.proto,
            iif: Some(facts.iif),
            mark: facts.mark,
            carrier: facts.outer.as_ref().map(|outer| Carrier {
                src: outer.src,
                dst: outer.dst,
                tunnel: Tunnel::of(outer.proto.number(), outer.dport, outer.dst.is_ipv6()),
            }),
            in_netfilter: facts
                .function
                .as_deref()
                .is_some_and(|function| function.starts_with("nf_")),
            wanted,
        };
        match DropContext::read(inside, &question) {
            Ok(around) => self.around = around,
            Err(error) => self.gaps.push(format!("{error:#}")),
        }
        self.gaps.append(&mut self.around.gaps);
    }
}

/// A packet like a dropped one, and where its namespace had it first; `None` if that is not known.
fn way(facts: &DropFacts) -> Option<(Start, Packet)> {
    let netns = facts.netns?;
    let start = match facts.iif {
        0 => Start::Sent(netns),
        ifindex => Start::In(LinkId { netns, ifindex }),
    };
    let first = Packet::first_of(facts.flow);
    let hops = match facts.reason.name() {
        "IP_INHDR" => Some(HOPS_OF_A_LOOP),
        _ => first.ttl,
    };
    let packet = Packet {
        ttl: hops,
        mark: Some(facts.mark),
        tcp_flags: facts.tcp.map(|tcp| tcp.flags).or(first.tcp_flags),
        ..first
    };
    Some((start, packet))
}
