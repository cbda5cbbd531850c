//! Conntrack entries that the rules have moved on from: a connection keeps the translation that its
//! first packet got, or the lack of one, whatever the rules say now.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::ruleset::{
    HookPacket, Ruleset, Survey, Suspect,
    packet::{Device, Ends},
    passage::{Passage, Way},
};
use crate::{
    decode::tracked::Tracked,
    model::{Flow, Hook, Protocol, SocketAddress},
    net::{conntrack_entry, netns::Inside},
};

/// A connection's packet as it comes to a namespace, in front of NAT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// `PREROUTING`, or `OUTPUT` for what is sent from there.
    pub(crate) hook: Hook,
    /// The interface that it came in through.
    pub(crate) ifname: Option<String>,
    /// Its ends.
    pub(crate) flow: Flow,
}

/// What becomes of the destination of a connection's packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The connection's entry keeps another one than the rules would give it now.
    Kept(Box<Bypass>),
    /// No rule translates it, nor does an entry.
    Untranslated,
}

/// An entry that packets follow past the rules of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bypass {
    /// The inode number of the network namespace that has the entry.
    pub(crate) netns: u32,
    /// The packet in front of NAT.
    pub(crate) original: Flow,
    /// With the destination that the entry keeps.
    pub(crate) kept: Flow,
    /// With the one that the rules give to a new connection; one of several, where they choose.
    pub(crate) now: Flow,
    /// The zone that the entry is in; 0 is none.
    pub(crate) zone: u16,
}

impl Arrival {
    /// As rules see it, if it is the first packet of its connection.
    fn packet(&self) -> HookPacket {
        let flow = self.flow;
        let ends = Ends {
            src: flow.src,
            dst: flow.dst,
            sport: flow.sport,
            dport: flow.dport,
        };
        HookPacket {
            hook: Some(self.hook),
            input: match (self.hook, &self.ifname) {
                (Hook::Output, _) => Device::None,
                (_, Some(name)) => Device::Named(name.clone()),
                (_, None) => Device::Unknown,
            },
            tcp_flags: (flow.proto == Protocol::Tcp).then_some(SYN),
            tracked: Tracked::New,
            host: Arc::new(Survey::of_flow(&flow).host),
            ..HookPacket::new(ends, flow.proto.number())
        }
    }
}

impl Bypass {
    /// Whether the entry was made without any translation.
    pub(crate) fn lacks_translation(&self) -> bool {
        self.kept.destination() == self.original.destination()
    }
}

/// The rule that has led a packet to its destination.
#[derive(Debug, Clone)]
pub(crate) struct Leads {
    /// The packet in front of NAT.
    pub(crate) original: Flow,
    /// The rule.
    pub(crate) rule: Suspect,
    /// Where another rule would lead without it, and that rule.
    pub(crate) instead: Option<(SocketAddress, Suspect)>,
}

impl Leads {
    /// Reads it in the namespace that this thread is in. `None` if no rule surely leads there.
    pub(super) fn read(inside: &Inside, arrival: &Arrival, there: SocketAddress) -> Option<Self> {
        let ruleset = recent(inside);
        let packet = arrival.packet();
        let by = |ruleset: &Ruleset| {
            let translator = ruleset.translator(&packet)?;
            let ends = translator.packet.ends;
            Some(((ends.dst, ends.dport), translator))
        };
        let (leads_to, translator) = by(&ruleset)?;
        (leads_to == there).then_some(())?;
        let instead = by(&ruleset.without(&translator)).filter(|(other, _)| *other != there);
        Some(Self {
            original: arrival.flow,
            rule: translator.rule,
            instead: instead.map(|(other, translator)| (other, translator.rule)),
        })
    }
}

impl Destination {
    /// Reads it in the namespace that this thread is in. `None` if that is unknown, or the
    /// rules translate the packet as its entry does.
    ///
    /// # Errors
    ///
    /// Conntrack cannot be asked.
    pub(super) fn read(inside: &Inside, arrival: &Arrival) -> Result<Option<Self>> {
        let original = arrival.flow;
        let (ruleset, packet) = (recent(inside), arrival.packet());
        let Some(zone) = ruleset.zone(&packet) else {
            return Ok(None);
        };
        let entry = conntrack_entry(&original, zone)?;
        let entry = entry.filter(|entry| !entry.is_reply(&original));
        let kept = entry.map_or(original, |entry| entry.behind(&original));
        let Some(now) = by_rules(&ruleset, &packet, original) else {
            return Ok(None);
        };
        let is = |flow: &Flow, other: &Flow| flow.destination() == other.destination();
        let Some(first) = now.first() else {
            return Ok(None);
        };
        // Another one of several endpoints is no contradiction.
        if entry.is_some() && !now.iter().any(|flow| is(flow, &kept)) {
            return Ok(Some(Self::Kept(Box::new(Bypass {
                netns: inside.inode,
                original,
                kept,
                now: *first,
                zone,
            }))));
        }
        let untranslated = is(&kept, &original) && now.iter().all(|flow| is(flow, &original));
        Ok(untranslated.then_some(Self::Untranslated))
    }
}

/// How long a ruleset that was read will do for further questions: many attempts may end at once.
const HOLDS: Duration = Duration::from_secs(2);

struct Reading {
    at: Instant,
    netns: (u32, Option<u64>),
    ruleset: Arc<Ruleset>,
}

static LAST: Mutex<Option<Reading>> = Mutex::new(None);

/// Whether rules of the namespace that this thread is in may have packets tracked in zones: then an
/// entry outside of them, or none there, says nothing about a packet whose zone is not known.
pub(super) fn may_have_zones(inside: &Inside) -> bool {
    let ruleset = recent(inside);
    ruleset.has_zones || !ruleset.nft_read || !ruleset.legacy_read
}

/// The ruleset of the namespace that this thread is in, as of a moment ago at most.
fn recent(inside: &Inside) -> Arc<Ruleset> {
    let netns = (inside.inode, inside.cookie);
    // Who comes meanwhile waits for this reading.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let known = last
        .as_ref()
        .filter(|known| known.netns == netns && known.at.elapsed() < HOLDS);
    if let Some(known) = known {
        return Arc::clone(&known.ruleset);
    }
    let ruleset = Arc::new(Ruleset::read(inside));
    *last = Some(Reading {
        at: Instant::now(),
        netns,
        ruleset: Arc::clone(&ruleset),
    });
    ruleset
}

/// What the rules make of the destination of a new connection's packet; `None` where that is not
/// known.
fn by_rules(ruleset: &Ruleset, packet: &HookPacket, flow: Flow) -> Option<Vec<Flow>> {
    let ways = match ruleset.pass(packet) {
        Passage::Passed(ways) => ways,
        Passage::Undecided {
            ways,
            incomplete: false,
            ..
        } => ways,
        Passage::Undecided { .. } | Passage::Dropped(_) => return None,
    };
    ways.iter().map(|way| behind(&flow, way)).collect()
}

/// `SYN` of a TCP header.
const SYN: u8 = 2;

fn behind(flow: &Flow, way: &Way) -> Option<Flow> {
    let is_known = !way.unknown.dst && !way.unknown.dport;
    is_known.then(|| Flow {
        dst: way.packet.ends.dst,
        dport: way.packet.ends.dport.or(flow.dport),
        ..*flow
    })
}
