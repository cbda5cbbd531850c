//! Attempts in a running trace, and what surrounds them.
//!
//! What the packets themselves decide is told at once. What silence decides waits for the timeout,
//! and, where a listener may have been silent for a full queue, for a look at that listener: once
//! a quarter of the way to the timeout, to have something to compare with, and once after it.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tracer_common::event::handshake_key;

use crate::{
    decode::sighting::{Key, Sighting},
    engine::{
        attempt::Attempt,
        table::{Moved, Table},
        tunnel_stats::{Others, Way, Ways},
    },
    kernel::{
        clock::{Clock, monotonic_nanos},
        probes::Probes,
    },
    net::{Inventory, Kind, netns::NetnsRef},
    node::{
        listener::{ListenerFacts, Reading},
        silent_hop::SilentHop,
    },
    verdict::{attempts as judge, attempts::Surroundings},
};

/// The attempts of a running trace.
pub(crate) struct Fates {
    pub(crate) table: Table,
    /// What keeps the probes from seeing everything, a sentence each.
    pub(crate) blind_spots: Vec<String>,
    /// Interfaces that came later and could not be attached to, in a sentence.
    pub(crate) unwatched: Option<String>,
    /// Events lost so far.
    pub(crate) lost: u64,
    pub(crate) clock: Clock,
    pub(crate) ways: Ways,
    pub(crate) questions: JoinSet<Answer>,
    /// Where a silent listener is, and a reading from before the timeout.
    pub(crate) before: HashMap<Key, (NetnsRef, Option<Arc<Reading>>)>,
    /// Attempts that this node itself has refused, and until when the drop behind that may come.
    pub(crate) refused_here: Vec<(u64, Key)>,
}

/// What a question to the node came to.
pub(crate) enum Answer {
    /// Where the listener is, and a reading to compare with later.
    Before(Key, Option<(NetnsRef, Option<Arc<Reading>>)>),
    /// The facts for the verdict.
    Facts(Key, Box<Facts>),
}

/// What the node says of an attempt that silence is about to judge.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) listener: Option<ListenerFacts>,
    pub(crate) silent_hop: Option<SilentHop>,
}

impl Fates {
    pub(crate) fn new(timeout: Duration, clock: Clock) -> Self {
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

    pub(crate) fn sighted(&mut self, sighting: &Sighting, probes: &Probes) -> Moved {
        self.table.sighted(sighting, self.lost, |key| {
            let (proto, number) = match key {
                Key::Tcp(isn) => (tracer_common::packet::protocol::TCP, *isn),
                Key::Dns(id, _) => (tracer_common::packet::protocol::UDP, u32::from(*id)),
            };
            probes.early_hops(handshake_key(proto, number))
        })
    }

    /// Whether nothing was told of an attempt yet.
    pub(crate) fn is_open(&self, key: &Key) -> bool {
        let attempt = self.table.get(key);
        attempt.is_some_and(|attempt| attempt.told.is_none())
    }

    /// Lets go of what was read for attempts whose fate is known by now.
    pub(crate) fn forget_readings(&mut self) {
        let table = &self.table;
        self.before.retain(|key, _| {
            let attempt = table.get(key);
            attempt.is_some_and(|attempt| attempt.told.is_none())
        });
    }

    /// The next answer of the node; never if nothing was asked.
    pub(crate) async fn answer(&mut self) -> Answer {
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
    pub(crate) fn surroundings(&self, attempt: &Attempt, inventory: &Inventory) -> Surroundings {
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
                kind: kind_name(&interface.link.kind).to_owned(),
                leads_off: interface.is_uplink,
            }),
            destination_is_local: last.is_some_and(|hop| {
                destination.is_some_and(|ip| is_local(inventory, hop.place.netns, ip))
            }),
            listener: None,
            silent_hop: None,
            others: None,
        }
    }

    /// The way that an attempt went, and what became of others that went it too.
    pub(crate) fn company(
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

pub(crate) fn is_local(inventory: &Inventory, netns: u32, ip: IpAddr) -> bool {
    ip.is_loopback() || inventory.holders(ip).any(|holder| holder.netns == netns)
}

fn kind_name(kind: &Kind) -> &str {
    match kind {
        Kind::Physical => "physical",
        Kind::Loopback => "loopback",
        Kind::Veth => "veth",
        Kind::Bridge(_) => "bridge",
        Kind::Vxlan(_) => "VXLAN",
        Kind::Geneve(_) => "Geneve",
        Kind::Ipip => "IP-in-IP",
        Kind::Gre => "GRE",
        Kind::Tun => "tun",
        Kind::Vlan { .. } => "VLAN",
        Kind::Bond => "bond",
        Kind::Wireguard => "WireGuard",
        Kind::Dummy => "dummy",
        Kind::Netkit => "netkit",
        Kind::Macvlan(_) => "macvlan",
        Kind::Ipvlan => "ipvlan",
        Kind::Vrf { .. } => "vrf",
        Kind::Other(name) => name,
    }
}
