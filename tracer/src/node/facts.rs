//! What the node knows that a dropped packet does not say: gathered once for drops that are alike.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_common::tunnel::Tunnel;

use super::{
    bypass::{self, Arrival, Destination, Leads},
    conntrack::{Connection, Conntrack},
    gather::{Carrier, DropContext, Fact, Question},
    proxy::{self, DeadProxy},
    queue_program::QueueProgram,
    ruleset::{
        self, Hint, HookPacket, Marking, Meaning, Mending, Ruleset, Shared, SourceRanges, Survey,
        Suspect, Suspects, Unestablished, model::Proxy,
    },
    sysctl,
    translation::LostTranslation,
    way::{Packet, Start, Walked, Way},
    world::{LinkId, Part, World},
};
use crate::{
    decode::{
        drop::{DropFacts, SentBack},
        tracked::Tracked,
        untranslated::Untranslated,
    },
    kernel::probes::query::{self, LoadedProgram},
    model::{Flow, Hook, Protocol, Reason},
    net::{
        ConntrackEntry, Rtnetlink, conntrack_entry,
        netns::{Inside, NetnsRef, in_netns_async},
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

/// What makes two drops ask the same of the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    netns: u32,
    reason: Reason,
    function: Option<String>,
    hook: Option<Hook>,
    ifname: Option<String>,
    src: IpAddr,
    dst: IpAddr,
    dport: Option<u16>,
    proto: Protocol,
    tracked: Tracked,
    untranslated: Option<Box<Untranslated>>,
    sent_back: Option<SentBack>,
}

/// How long conntrack keeps the entry of a connection without packets.
const IDLE_TIMEOUT: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";

/// What was read of the node for one drop. What could not be read is `None`, and said in `gaps`.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeFacts {
    /// The netfilter rules that could have dropped it.
    pub(crate) suspects: Option<Suspects>,
    /// What NAT makes of its destination, where its connection's entry was there before.
    pub(crate) destination: Option<Destination>,
    /// The rule that led it to its destination, where it was another one before.
    pub(crate) leads: Option<Leads>,
    /// The rules that sent it to a proxy which is not there.
    pub(crate) proxies: Vec<DeadProxy>,
    /// The rules that may have given a packet the socket of a proxy, if it was forwarded in vain.
    pub(crate) proxied: Vec<(Suspect, Proxy)>,
    /// The BPF programs at netfilter hooks, where no rule could have dropped it.
    pub(crate) netfilter_programs: Vec<LoadedProgram>,
    /// Why it has the mark for which the only rule that is left drops it.
    pub(crate) marking: Option<Box<Marking>>,
    /// The sources that the Service admits which that rule is about.
    pub(crate) sources: Option<SourceRanges>,
    /// Why conntrack does not call it established, where it would pass otherwise.
    pub(crate) unestablished: Option<Unestablished>,
    /// `nf_conntrack_tcp_timeout_established`, in seconds, where that matters.
    pub(crate) idle_timeout: Option<u64>,
    /// What would let it pass, where one rule is left.
    pub(crate) mending: Mending,
    /// Routes, neighbors, tunnels, programs and queues around it.
    pub(crate) around: DropContext,
    /// How full the conntrack table of the namespace is.
    pub(crate) conntrack: Option<Conntrack>,
    /// What conntrack has of the connection of a packet that a rule drops as invalid.
    pub(crate) connection: Option<Connection>,
    /// The connection that a packet without an entry, which no socket takes, answers.
    pub(crate) answered: Option<ConntrackEntry>,
    /// What has become of its connection's translation, if that is gone.
    pub(crate) lost_translation: Option<LostTranslation>,
    /// The program that decided about it behind an NFQUEUE.
    pub(crate) queue_program: Option<QueueProgram>,
    /// The whole node: all namespaces that can be entered.
    pub(crate) world: Option<Arc<World>>,
    /// The ways that the node has for such a packet.
    pub(crate) ways: Vec<Way>,
    /// Its rules are still being read: a later drop can have them.
    pub(crate) lacks_rules: bool,
    /// What nf_tables calls its rules, while they are being read.
    pub(crate) generation: Option<u32>,
    /// Why something is missing, a sentence each.
    pub(crate) gaps: Vec<String>,
}

/// What is asked of the node about a drop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wants(pub(crate) BTreeSet<Fact>);

impl Subject {
    /// What makes this drop ask the same as others; `None` if its namespace is not known.
    pub(crate) fn of(facts: &DropFacts) -> Option<Self> {
        Some(Self {
            netns: facts.netns?,
            reason: facts.reason.clone(),
            function: facts.function.clone(),
            hook: facts.hook,
            ifname: facts.ifname.clone(),
            src: facts.flow.src,
            dst: facts.flow.dst,
            dport: facts.flow.dport,
            proto: facts.flow.proto,
            tracked: facts.tracked,
            untranslated: facts.untranslated.map(Box::new),
            sent_back: facts.sent_back,
        })
    }
}

impl NodeFacts {
    /// Whether reading it anew, after another such drop, may say more.
    pub(crate) fn is_open(&self) -> bool {
        self.suspects.as_ref().is_some_and(Suspects::are_open)
    }

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

    /// Which proxies it was meant for, and did not get to.
    fn read_proxies(&mut self, inside: &Inside, facts: &DropFacts) {
        let survey = Survey::of(facts);
        let host = Arc::new(survey.host.clone());
        let packet = HookPacket::of(facts, host, &|ifindex| survey.name(ifindex));
        let packet = proxy::as_it_came(&packet);
        match Ruleset::shared_for(inside, &packet, facts.at, true) {
            Some(shared) => self.proxies = proxy::dead_of_nft(&shared.ruleset, &packet),
            None => self
                .gaps
                .push("the netfilter rules are still being read".to_owned()),
        }
    }

    /// Which rules could have dropped it.
    fn read_ruleset(&mut self, inside: &Inside, facts: &DropFacts, earlier: Option<&Self>) {
        let survey = Survey::of(facts);
        let host = Arc::new(survey.host.clone());
        let packet = HookPacket::of(facts, host, &|ifindex| survey.name(ifindex));
        // Rules that were read earlier lack this drop in their counters: they will do where only one
        // of them could have dropped it.
        let earlier = earlier.and_then(|earlier| earlier.suspects.as_ref());
        let found = [true, false].into_iter().find_map(|may_be_earlier| {
            let shared = Ruleset::shared_for(inside, &packet, facts.at, may_be_earlier);
            let Some(shared) = shared else {
                return Some(None);
            };
            let suspects = shared.suspects(facts, &packet, earlier);
            let found = (shared.ruleset, shared.generation, suspects);
            (shared.has_counted || found.2.certain).then_some(Some(found))
        });
        let Some((ruleset, generation, suspects)) = found.flatten() else {
            self.lacks_rules = true;
            self.generation = ruleset::generation();
            let gap = "the netfilter rules are still being read";
            self.gaps.push(gap.to_owned());
            return;
        };
        self.generation = generation;
        self.gaps.extend(ruleset.gaps.clone());
        if suspects.rules.is_empty() {
            self.proxies = proxy::dead(&ruleset, &packet);
            self.netfilter_programs = query::at_netfilter();
        }
        if facts.was_refused_by_forwarding() {
            self.proxied = proxy::of_forwarded(&ruleset, &packet);
        }
        let is_invalid = |rule: &Suspect| rule.meaning == Meaning::Invalid;
        let read = |packet: &HookPacket| {
            let shared = Ruleset::shared_for(inside, packet, facts.at, true);
            shared.map(|shared| shared.ruleset)
        };
        if let [only] = suspects.rules.as_slice() {
            self.marking = ruleset.marking(only, &packet, &read).map(Box::new);
            self.sources = ruleset.sources_of(only, &packet, &read);
            self.unestablished = Some(only)
                .filter(|only| suspects.certain && only.meaning == Meaning::Plain)
                .and_then(|_| ruleset.unestablished(&packet, &read));
        }
        let is_tcp = facts.flow.proto == Protocol::Tcp;
        let asks_state = suspects.rules.iter().all(is_invalid)
            || self.unestablished == Some(Unestablished::Invalid);
        if is_tcp && suspects.certain && asks_state {
            let found = Connection::read(&facts.flow).ok().flatten();
            self.connection = found.filter(|_| !bypass::may_have_zones(inside));
        }
        if self.unestablished == Some(Unestablished::Unknown) {
            self.idle_timeout = sysctl::number(IDLE_TIMEOUT).ok().flatten();
        }
        self.mending = match self.unestablished {
            // What would let this packet pass is not what is wrong.
            Some(_) => Mending::default(),
            None => ruleset.mend(&suspects, &packet),
        };
        self.suspects = Some(suspects);
    }
}

impl Shared {
    /// The rules that could have dropped it. `earlier` are those of a drop before this one, with their
    /// counters in between.
    fn suspects(
        &self,
        facts: &DropFacts,
        packet: &HookPacket,
        earlier: Option<&Suspects>,
    ) -> Suspects {
        let ruleset = &self.ruleset;
        let mut suspects = ruleset.suspects(packet, Hint::of_stack(&facts.stack));
        if suspects.rules.is_empty() {
            // Up to some 6.1, nf_hook_slow frees what nf_tables drops, too.
            suspects = ruleset.suspects(packet, Hint::Any);
        }
        if self.has_counted {
            suspects.narrow_by_counters(ruleset);
        }
        suspects.narrow_by_answer(facts.sent_back);
        if let Some(earlier) = earlier.filter(|_| self.has_counted && !suspects.certain) {
            suspects.narrow_since(earlier);
        }
        suspects
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
