//! The answers of the kernel that runs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{AtHook, Judgment, Kernel, Packet};
use crate::{
    net::{
        RouteKey, Rtnetlink,
        netns::{NetnsRef, in_netns},
    },
    node::{
        route::Lookup,
        ruleset::{Hint, HookPacket, Ruleset, Suspect, model::Verdict, truth::Truth},
        world::World,
    },
};

/// Asks the kernel, in the namespaces of a model. What is read once is kept: rulesets, and sockets to
/// ask for routes.
pub struct Live {
    namespaces: BTreeMap<u32, NetnsRef>,
    deadline: Instant,
    sockets: Mutex<HashMap<u32, Result<Arc<Mutex<Rtnetlink>>, String>>>,
    rulesets: Mutex<HashMap<u32, Result<Arc<Ruleset>, String>>>,
}

impl Live {
    /// For the namespaces of this model, until the deadline.
    pub fn new(world: &World, deadline: Instant) -> Self {
        let namespaces = world.namespaces.values();
        Self {
            namespaces: namespaces
                .map(|one| (one.inode, one.reference.clone()))
                .collect(),
            deadline,
            sockets: Mutex::default(),
            rulesets: Mutex::default(),
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn reference(&self, netns: u32) -> Result<&NetnsRef, String> {
        let gone = || format!("network namespace {netns} was not read");
        self.namespaces.get(&netns).ok_or_else(gone)
    }

    fn socket(&self, netns: u32) -> Result<Arc<Mutex<Rtnetlink>>, String> {
        let open = || {
            let open = in_netns(self.reference(netns)?, self.left(), |_| {
                Ok(Rtnetlink::open()?)
            });
            let socket = open.map_err(|error| format!("{error:#}"))?;
            Ok(Arc::new(Mutex::new(socket)))
        };
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.entry(netns).or_insert_with(open).clone()
    }

    fn ruleset(&self, netns: u32) -> Result<Arc<Ruleset>, String> {
        let read = || {
            let read = in_netns(self.reference(netns)?, self.left(), |inside| {
                Ok(Ruleset::read(&inside))
            });
            read.map(Arc::new).map_err(|error| format!("{error:#}"))
        };
        let mut rulesets = self.rulesets.lock().unwrap_or_else(PoisonError::into_inner);
        rulesets.entry(netns).or_insert_with(read).clone()
    }
}

impl Kernel for Live {
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
        if let Some(want) = translates(&ruleset, at, packet) {
            return Judgment::Undecided(want);
        }
        let suspects = ruleset.suspects(&at_hook(at, packet), Hint::Any);
        let drops = |rule: &Suspect| {
            rule.reached == Truth::Yes && matches!(rule.verdict, Verdict::Drop | Verdict::Reject)
        };
        match suspects.rules.as_slice() {
            [] if suspects.complete => Judgment::Passes(packet.clone()),
            [] => Judgment::Undecided(format!(
                "the rules at {} could not all be read or followed",
                at.hook.name()
            )),
            [rule, ..] if drops(rule) => Judgment::Drops(rule.describe()),
            [rule, ..] => {
                Judgment::Undecided(format!("whether this drops it: {}", rule.describe()))
            }
        }
    }
}

/// Whether there are NAT rules at the hook, which are not followed.
fn translates(ruleset: &Ruleset, at: &AtHook, packet: &Packet) -> Option<String> {
    let hook = at.hook.name_in_family().to_ascii_lowercase();
    let mut tables = ruleset.tables.iter();
    let table = tables.find(|table| {
        let of_version = match table.family.name() {
            "ip" => packet.flow.dst.is_ipv4(),
            "ip6" => packet.flow.dst.is_ipv6(),
            _ => true,
        };
        of_version
            && table.chains.iter().any(|chain| {
                let base = chain.base.as_ref();
                base.is_some_and(|base| base.is_nat && base.hook == hook) && !chain.rules.is_empty()
            })
    })?;
    Some(format!(
        "what the NAT rules in table {} {} make of it at {}",
        table.family,
        table.name,
        at.hook.name()
    ))
}

fn at_hook(at: &AtHook, packet: &Packet) -> HookPacket {
    HookPacket {
        hook: Some(at.hook),
        src: packet.flow.src,
        dst: packet.flow.dst,
        proto: packet.flow.proto.number(),
        sport: packet.flow.sport,
        dport: packet.flow.dport,
        tcp_flags: packet.tcp_flags,
        icmp_type: packet.icmp.map(|(kind, _)| kind),
        iifname: at.input.clone(),
        oifname: at.output.clone(),
        mark: Some(packet.mark),
        is_later_fragment: false,
        tracked: packet.tracked,
    }
}
