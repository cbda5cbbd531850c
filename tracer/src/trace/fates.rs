//! Attempts in a running trace: when their fate is told, and what is asked before.
//!
//! What the packets themselves decide is told at once. What silence decides waits for the timeout,
//! and, where a listener may have been silent for a full queue, for a look at that listener: once
//! a quarter of the way to the timeout, to have something to compare with, and once after it.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::task::JoinSet;
use tracer_common::event::handshake_key;

use super::{scene, session::Session};
use crate::{
    attempts::{
        attempt::Attempt,
        report::{self, Fate},
        sighting::{Key, Sighting},
        table::{Moved, Table},
        ways::{Others, Way, Ways},
    },
    kernel::{
        clock::{Clock, monotonic_nanos},
        interfaces::{Inventory, Kind},
        probes::Probes,
    },
    node::{
        listener::{ListenerFacts, Reading},
        netns::NetnsRef,
    },
    record::{self, Outcome, Record},
    verdict::{
        attempt::{self as judge, Surroundings},
        cluster::refine,
    },
};

/// How long the drop behind a refusal is waited for, in nanoseconds: a rule that rejects sends its
/// answer first and frees the packet then, and the node may be asked about that.
const DROP_FOLLOWS: u64 = 900_000_000;

/// The attempts of a running trace.
pub(super) struct Fates {
    pub(super) table: Table,
    /// What keeps the probes from seeing everything, a sentence each.
    pub(super) blind_spots: Vec<String>,
    /// Interfaces that came later and could not be attached to, in a sentence.
    pub(super) unwatched: Option<String>,
    /// Events lost so far.
    pub(super) lost: u64,
    clock: Clock,
    ways: Ways,
    pub(super) questions: JoinSet<Answer>,
    /// Where a silent listener is, and a reading from before the timeout.
    pub(super) before: HashMap<Key, (NetnsRef, Option<Arc<Reading>>)>,
    /// Attempts that this node itself has refused, and until when the drop behind that may come.
    refused_here: Vec<(u64, Key)>,
}

/// What a question to the node came to.
pub(super) enum Answer {
    /// Where the listener is, and a reading to compare with later.
    Before(Key, Option<(NetnsRef, Option<Arc<Reading>>)>),
    /// The facts for the verdict.
    Facts(Key, Option<Box<ListenerFacts>>),
}

impl Fates {
    pub(super) fn new(timeout: Duration, clock: Clock) -> Self {
        Self {
            table: Table::new(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX / 2)),
            blind_spots: Vec::new(),
            unwatched: None,
            lost: 0,
            clock,
            ways: Ways::default(),
            questions: JoinSet::new(),
            before: HashMap::new(),
            refused_here: Vec::new(),
        }
    }

    pub(super) fn sighted(&mut self, sighting: &Sighting, probes: &Probes) -> Moved {
        self.table.sighted(sighting, self.lost, |key| {
            let (proto, number) = match key {
                Key::Tcp(isn) => (tracer_common::packet::protocol::TCP, *isn),
                Key::Dns(id, _) => (tracer_common::packet::protocol::UDP, u32::from(*id)),
            };
            probes.early_hops(handshake_key(proto, number))
        })
    }

    /// Lets go of what was read for attempts whose fate is known by now.
    fn forget_readings(&mut self) {
        let table = &self.table;
        self.before.retain(|key, _| {
            let attempt = table.get(key);
            attempt.is_some_and(|attempt| attempt.told.is_none())
        });
    }

    /// The next answer of the node; never if nothing was asked.
    pub(super) async fn answer(&mut self) -> Answer {
        loop {
            match self.questions.join_next().await {
                Some(Ok(answer)) => return answer,
                // It panicked, or was aborted: the attempt is judged without it at the end.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// What is around the attempt's last hop.
    fn surroundings(&self, attempt: &Attempt, inventory: &Inventory) -> Surroundings {
        // The gap is behind the last hop of what came back, if anything did.
        let last = attempt.last_reply_hop().or_else(|| attempt.last_hop());
        let interface = last.and_then(|hop| inventory.get(hop.place.netns, hop.place.ifindex));
        let destination = last.map(|hop| IpAddr::from(hop.flow.dst));
        Surroundings {
            blind_spots: self
                .blind_spots
                .iter()
                .chain(&self.unwatched)
                .cloned()
                .collect(),
            lost: self.lost - attempt.lost_before,
            last_interface: interface.map(|interface| judge::Interface {
                kind: kind_name(&interface.kind).to_owned(),
                leads_off: interface.is_uplink,
            }),
            destination_is_local: last.is_some_and(|hop| {
                destination.is_some_and(|ip| is_local(inventory, hop.place.netns, ip))
            }),
            listener: None,
            others: None,
        }
    }

    /// The way that an attempt went, and what became of others that went it too.
    fn company(
        &self,
        key: &Key,
        attempt: &Attempt,
        inventory: &Inventory,
    ) -> (Option<Way>, Option<Others>) {
        let way = Way::of(attempt, |netns, ifindex| {
            inventory
                .get(netns, ifindex)
                .is_none_or(|interface| interface.is_uplink)
        });
        let others = match way {
            Some(Way::Tunnel(remote)) => self.ways.others(key, remote, monotonic_nanos()),
            _ => None,
        };
        (way, others)
    }
}

pub(super) fn is_local(inventory: &Inventory, netns: u32, ip: IpAddr) -> bool {
    ip.is_loopback() || inventory.holders(ip).any(|holder| holder.netns == netns)
}

fn kind_name(kind: &Kind) -> &str {
    match kind {
        Kind::Physical => "physical",
        Kind::Loopback => "loopback",
        Kind::Veth => "veth",
        Kind::Bridge => "bridge",
        Kind::Vxlan(_) => "VXLAN",
        Kind::Geneve { .. } => "Geneve",
        Kind::Ipip => "IP-in-IP",
        Kind::Gre => "GRE",
        Kind::Tun => "tun",
        Kind::Vlan => "VLAN",
        Kind::Bond => "bond",
        Kind::Wireguard => "WireGuard",
        Kind::Dummy => "dummy",
        Kind::Other(name) => name,
    }
}

impl Session<'_> {
    /// Looks at what the clock decides.
    pub(super) fn tick_fates(&mut self, inventory: &Inventory) -> Result<()> {
        let now = monotonic_nanos();
        self.tell_refusals(now, inventory)?;
        self.fates.forget_readings();
        for key in self.fates.table.early(now) {
            self.ask_before(key, inventory);
        }
        for key in self.fates.table.expired(now) {
            let open = self
                .fates
                .table
                .get(&key)
                .is_some_and(|attempt| attempt.told.is_none());
            if open && !self.ask_facts(&key, inventory) {
                self.tell(&key, Outcome::Unanswered, None, inventory)?;
            }
        }
        Ok(())
    }

    /// Takes an answer of the node.
    pub(super) fn answered(&mut self, answer: Answer, inventory: &Inventory) -> Result<()> {
        match answer {
            Answer::Before(key, Some(found)) => {
                self.fates.before.insert(key, found);
            }
            Answer::Before(_, None) => {}
            Answer::Facts(key, facts) => {
                let open = self
                    .fates
                    .table
                    .get(&key)
                    .is_some_and(|attempt| attempt.told.is_none());
                if open {
                    self.tell(&key, Outcome::Unanswered, facts, inventory)?;
                }
            }
        }
        Ok(())
    }

    /// Tells the fate of an attempt that the last event may have decided.
    pub(super) fn tell_if_decided(&mut self, key: &Key, inventory: &Inventory) -> Result<()> {
        let Some(attempt) = self.fates.table.get(key) else {
            return Ok(());
        };
        let Some(outcome) = attempt.outcome() else {
            return Ok(());
        };
        let refused_here = matches!(outcome, Outcome::Refused | Outcome::Rejected)
            && attempt.reply_is_local()
            && attempt.told != Some(outcome);
        if refused_here && attempt.deciding_drop(outcome).is_none() {
            let until = monotonic_nanos() + DROP_FOLLOWS;
            if !self
                .fates
                .refused_here
                .iter()
                .any(|(_, waiting)| waiting == key)
            {
                self.fates.refused_here.push((until, key.clone()));
            }
            return Ok(());
        }
        self.tell(key, outcome, None, inventory)
    }

    /// Tells of those refusals whose drop did not come.
    fn tell_refusals(&mut self, now: u64, inventory: &Inventory) -> Result<()> {
        let due = self
            .fates
            .refused_here
            .extract_if(.., |(until, _)| *until <= now);
        for (_, key) in due.collect::<Vec<_>>() {
            if let Some(outcome) = self.fates.table.get(&key).and_then(Attempt::outcome) {
                self.tell(&key, outcome, None, inventory)?;
            }
        }
        Ok(())
    }

    /// Tells the fate of an attempt, unless the same was told before.
    fn tell(
        &mut self,
        key: &Key,
        outcome: Outcome,
        listener: Option<Box<ListenerFacts>>,
        inventory: &Inventory,
    ) -> Result<()> {
        let Some(attempt) = self.fates.table.get(key) else {
            return Ok(());
        };
        if attempt.told == Some(outcome) {
            return Ok(());
        }
        let (way, others) = self.fates.company(key, attempt, inventory);
        let around = Surroundings {
            listener: listener.map(|facts| *facts),
            others,
            ..self.fates.surroundings(attempt, inventory)
        };
        let arrived = around.has_arrived(attempt);
        // Its verdict is that drop's own, which was counted with the drop.
        let counted = attempt.deciding_drop(outcome).is_some();
        let at = match outcome {
            Outcome::Unanswered | Outcome::Stalled => monotonic_nanos(),
            _ => report::decided_at(attempt),
        };
        let fate = Fate {
            outcome,
            by: judge::sender(attempt),
            verdict: judge::judge(attempt, outcome, &around),
            at,
        };
        let mut record = report::record(key, attempt, fate, &self.fates.clock, &mut self.names);
        self.name_ends(&mut record);
        // A drop's verdict was sharpened when the drop was judged.
        if !counted && let Some(verdict) = record.verdict.take() {
            let scene = scene::of_attempt(&self.cluster, &record, outcome, arrived);
            record.verdict = Some(refine(verdict, &scene));
        }
        if let Some(way) = way {
            self.fates.ways.told(key, way, outcome, monotonic_nanos());
        }
        let told = self
            .fates
            .table
            .get_mut(key)
            .and_then(|attempt| attempt.told.replace(outcome));
        if let Some(before) = told
            && let Some(count) = self.summary.attempts.get_mut(&before)
        {
            *count -= 1;
        }
        *self.summary.attempts.entry(outcome).or_default() += 1;
        self.summary.attempts.retain(|_, count| *count > 0);
        if let Some(verdict) = &record.verdict
            && !counted
        {
            self.tally(verdict, 1);
        }
        self.print(&Record::Attempt(Box::new(record)))
    }

    /// Who opened it, and who was to answer: behind DNAT, if there was any.
    fn name_ends(&self, record: &mut record::Attempt) {
        let (src, asked_for) = self.ends(&record.flow, record.ts);
        let behind = record.translated.as_ref().unwrap_or(&record.flow);
        let (_, dst) = self.ends(behind, record.ts);
        record.src_pod = src.pod();
        record.src_owner = src.words();
        record.dst_pod = dst.pod();
        record.dst_owner = asked_for.words().or_else(|| dst.words());
    }

    /// At the end: what is past its timeout, or was never answered and cannot be any more.
    pub(super) fn tell_the_rest(&mut self, inventory: &Inventory) -> Result<()> {
        let now = monotonic_nanos();
        self.tell_refusals(u64::MAX, inventory)?;
        for key in self.fates.table.expired(now) {
            let open = self
                .fates
                .table
                .get(&key)
                .is_some_and(|attempt| attempt.told.is_none());
            if open {
                self.tell(&key, Outcome::Unanswered, None, inventory)?;
            }
        }
        Ok(())
    }
}
