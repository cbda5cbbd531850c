//! What the netfilter rules say of a drop: which of them could have dropped it, and why.

use std::sync::Arc;

use super::NodeFacts;
use crate::{
    decode::drop::DropFacts,
    kernel::probes::query,
    model::Protocol,
    net::netns::Inside,
    node::{
        bypass,
        conntrack::Connection,
        proxy,
        ruleset::{
            self, Hint, HookPacket, Meaning, Mending, Ruleset, Shared, Survey, Suspect, Suspects,
            Unestablished,
        },
        sysctl,
    },
};

/// How long conntrack keeps the entry of a connection without packets.
const IDLE_TIMEOUT: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";

impl NodeFacts {
    /// Which proxies it was meant for, and did not get to.
    pub(super) fn read_proxies(&mut self, inside: &Inside, facts: &DropFacts) {
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
    pub(super) fn read_ruleset(
        &mut self,
        inside: &Inside,
        facts: &DropFacts,
        earlier: Option<&Self>,
    ) {
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
