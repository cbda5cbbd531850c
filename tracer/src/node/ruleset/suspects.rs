//! The rules that could have dropped a packet.

use super::{
    Ruleset, calico,
    kube_router::{self, NamedPolicies},
    meaning::{self, Meaning},
    model::{Answer, Backend, Counter, Family, Table, Verdict},
    owner::Owner,
    packet::HookPacket,
    truth::Truth,
    walk::{Candidate, Question, Walk},
};
use crate::{decode::drop::SentBack, model::Hook};

/// What is known of the dropper, by the kernel's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// A rule or policy in nf_tables.
    Nft,
    /// A rule or policy in iptables' own tables.
    Legacy,
    /// A process that a rule had handed the packet to, or the lack of one.
    Queue,
    /// Not known.
    Any,
}

impl Hint {
    /// By the stack of the drop, innermost first.
    pub(crate) fn of_stack<S: AsRef<str>>(stack: &[S]) -> Self {
        let is = |name: &str| {
            stack
                .first()
                .is_some_and(|frame| frame.as_ref().starts_with(name))
        };
        if is("nft_do_chain") {
            Self::Nft
        } else if is("nf_hook_slow") || is("ipt_do_table") || is("ip6t_do_table") {
            Self::Legacy
        } else if is("nfqnl_") || is("nf_queue") {
            Self::Queue
        } else {
            Self::Any
        }
    }

    fn admits(self, table: &Table) -> bool {
        match self {
            Self::Nft => table.backend == Backend::Nft,
            Self::Legacy => table.backend == Backend::Legacy,
            Self::Queue | Self::Any => true,
        }
    }

    fn is_dropper(self, verdict: &Verdict) -> bool {
        match self {
            Self::Queue => *verdict == Verdict::Queue,
            _ => !matches!(verdict, Verdict::Queue | Verdict::Proxy(_)),
        }
    }
}

/// The rules that could have dropped a packet, those that surely met it first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspects {
    /// The rules.
    pub(crate) rules: Vec<Suspect>,
    /// Those that their counters clear.
    pub(crate) cleared: Vec<Suspect>,
    /// Their counters were read after the drop.
    pub(crate) have_counted: bool,
    /// That one of several is left, only two readings of their counters show.
    pub(crate) by_growth: bool,
    /// That one of several is left, only the answer to the packet shows.
    pub(crate) by_answer: bool,
    /// Only one is left, and nothing kept from looking at them all.
    pub(crate) certain: bool,
    /// Everything that may have dropped it was read and looked at.
    pub(crate) complete: bool,
    /// Some chain translates addresses, so that the kernel's NAT is at all hooks.
    pub(crate) translates: bool,
}

/// A rule, or a chain's policy, that could have dropped a packet.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    /// The engine that it is in.
    pub(crate) backend: Backend,
    /// Its table is iptables', by whichever engine.
    pub(crate) is_iptables: bool,
    /// Its table's family.
    pub(crate) family: Family,
    /// Its table.
    pub(crate) table: String,
    /// Its chain.
    pub(crate) chain: String,
    /// The priority of the base chain: of two at a hook, the lower is first.
    pub(crate) priority: i64,
    /// The kernel's number of the rule, in nf_tables.
    pub(crate) handle: Option<u64>,
    /// Its number in the chain, from 1; `None` for a policy.
    pub(crate) number: Option<usize>,
    /// The rule, as its tool prints it; the policy, in words.
    pub(crate) text: String,
    /// What it does.
    pub(crate) verdict: Verdict,
    /// Who made it.
    pub(crate) owner: Owner,
    /// What for.
    pub(crate) meaning: Meaning,
    /// The pod that it speaks of, as `namespace/name`.
    pub(crate) pod: Option<String>,
    /// The decision that Calico's log rule in front of it names.
    pub(crate) decision: Option<String>,
    /// The NetworkPolicies that it enforces for this packet, where its chain names them.
    pub(crate) policies: Option<NamedPolicies>,
    /// The Service that it speaks of.
    pub(crate) service: Option<String>,
    /// Its counter.
    pub(crate) counter: Option<Counter>,
    /// Whether the packet, if it was as it is known, met it for sure.
    pub(crate) reached: Truth,
    /// Conditions on the way to it of which it is not known that they held.
    pub(crate) open: u16,
    /// Where it is in the ruleset.
    pub(super) at: At,
}

/// A rule's place in a [`Ruleset`], by indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) table: usize,
    pub(super) chain: usize,
    /// `None` for a policy.
    pub(super) rule: Option<usize>,
}

impl Ruleset {
    /// The rules that could have dropped the packet.
    pub(crate) fn suspects(&self, packet: &HookPacket, hint: Hint) -> Suspects {
        let walk = Walk::new(self, packet, Question::WhoDropped, |table| {
            hint.admits(table)
        });
        let is_read = match hint {
            Hint::Nft => self.nft_read,
            Hint::Legacy => self.legacy_read,
            Hint::Queue | Hint::Any => self.nft_read && self.legacy_read,
        };
        let is_bridges = packet.hook.is_some_and(Hook::is_bridge);
        let may_be_ebtables = is_bridges && hint != Hint::Nft && packet.host.has_ebtables;
        let candidates = walk.candidates.iter();
        let droppers = candidates.filter(|candidate| hint.is_dropper(&candidate.verdict));
        let mut suspects = Suspects {
            rules: droppers
                .map(|candidate| self.suspect(candidate, packet))
                .collect(),
            complete: walk.is_complete && is_read && !may_be_ebtables,
            translates: self.translates,
            ..Suspects::default()
        };
        // Those first that surely met it, then those of which most is known.
        suspects
            .rules
            .sort_by_key(|suspect| (std::cmp::Reverse(suspect.reached), suspect.open));
        suspects.judge();
        suspects
    }

    /// All that can drop the packet, or can have, by whichever engine.
    pub(super) fn droppers(&self, packet: &HookPacket, question: Question) -> Vec<Suspect> {
        let walk = Walk::new(self, packet, question, |_| true);
        let candidates = walk.candidates.iter();
        candidates
            .filter(|candidate| Hint::Any.is_dropper(&candidate.verdict))
            .map(|candidate| self.suspect(candidate, packet))
            .collect()
    }

    pub(super) fn suspect(&self, candidate: &Candidate, packet: &HookPacket) -> Suspect {
        let table = &self.tables[candidate.table];
        let chain = &table.chains[candidate.chain];
        let rule = candidate.rule.map(|index| &chain.rules[index]);
        let base = table.chains[candidate.base].base.as_ref();
        let (map, element) = match &candidate.map {
            Some((map, element)) => (Some(map.as_str()), element.as_deref()),
            None => (None, None),
        };
        let owner = Owner::of(table, chain, candidate.rule);
        let meaning = Meaning::of(
            owner,
            chain,
            rule,
            (map, &candidate.verdict),
            candidate.as_invalid,
        );
        let policy_counter = base.and_then(|base| base.counter).map(|packets| Counter {
            packets,
            exact: true,
        });
        Suspect {
            backend: table.backend,
            is_iptables: table.is_iptables(),
            family: table.family,
            table: table.name.clone(),
            chain: chain.name.clone(),
            priority: base.map(|base| base.priority).unwrap_or_default(),
            handle: rule.and_then(|rule| rule.handle),
            number: candidate.rule.map(|index| index + 1),
            text: rule.map_or_else(|| "policy drop".to_owned(), |rule| rule.text.clone()),
            verdict: candidate.verdict.clone(),
            owner,
            meaning,
            pod: kube_router::pod(owner, chain, rule),
            decision: calico::decision(owner, chain, candidate.rule),
            policies: kube_router::policies(owner, chain, candidate.rule, packet),
            service: meaning::service(meaning, rule, element),
            counter: rule.map_or(policy_counter, |rule| rule.counter),
            reached: candidate.reached,
            open: candidate.open,
            at: At {
                table: candidate.table,
                chain: candidate.chain,
                rule: candidate.rule,
            },
        }
    }

    /// The counter of a suspect of another reading.
    fn counter(&self, suspect: &Suspect) -> Option<Counter> {
        let is_its = |table: &&Table| {
            (table.backend, table.family, &table.name)
                == (suspect.backend, suspect.family, &suspect.table)
        };
        let table = self.tables.iter().find(is_its)?;
        let chain = &table.chains[table.chain(&suspect.chain)?];
        let Some(number) = suspect.number else {
            let packets = chain.base.as_ref()?.counter?;
            return Some(Counter {
                packets,
                exact: true,
            });
        };
        let rule = match suspect.handle {
            Some(handle) => chain.rules.iter().find(|rule| rule.handle == Some(handle)),
            None => chain.rules.get(number - 1),
        };
        rule.filter(|rule| rule.text == suspect.text)?.counter
    }
}

impl Suspects {
    /// Whether another reading of the counters, after another drop, may leave fewer rules.
    pub(crate) fn are_open(&self) -> bool {
        self.by_growth
            || self.rules.len() > 1 && self.rules.iter().any(|rule| rule.counter.is_some())
    }

    /// Leaves out the rules that have counted nothing: `after` was read after the drop.
    pub(crate) fn narrow_by_counters(&mut self, after: &Ruleset) {
        self.have_counted = true;
        for suspect in &mut self.rules {
            suspect.counter = after.counter(suspect).or(suspect.counter);
        }
        self.clear(|suspect| suspect.counter.is_some_and(|counter| counter.packets == 0));
    }

    /// Leaves out the rules whose counters stood still since an earlier reading, if a packet was
    /// dropped in between. What did count comes first.
    pub(crate) fn narrow_since(&mut self, earlier: &Self) {
        let growth = |suspect: &Suspect| {
            let mut known = earlier.rules.iter().chain(&earlier.cleared);
            let before = known.find(|known| known.is_same(suspect))?.counter?;
            let now = suspect.counter?;
            now.packets.checked_sub(before.packets)
        };
        let all = self.rules.len();
        self.clear(|suspect| growth(suspect) == Some(0));
        self.by_growth = self.rules.len() < all;
        let moved = |suspect: &Suspect| {
            let is_exact = suspect.counter.is_some_and(|counter| counter.exact);
            is_exact && growth(suspect) > Some(0)
        };
        self.rules.sort_by_key(|suspect| !moved(suspect));
    }

    /// Leaves out the rules that would not have answered like this. Without an answer, those that
    /// reset the connection come last.
    pub(crate) fn narrow_by_answer(&mut self, answer: Option<SentBack>) {
        let Some(sent) = answer else {
            let resets = |suspect: &Suspect| suspect.verdict == Verdict::Reject(Answer::Reset);
            return self.rules.sort_by_key(resets);
        };
        let gives = |suspect: &Suspect| match (&suspect.verdict, sent) {
            (Verdict::Reject(Answer::Unknown), _)
            | (Verdict::Reject(Answer::Reset), SentBack::Reset) => true,
            (Verdict::Reject(Answer::Unreachable(v4, v6)), SentBack::Error(kind, code)) => {
                (kind, code) == (3, *v4) || (kind, code) == (1, *v6)
            }
            _ => false,
        };
        if self.rules.iter().any(gives) {
            self.by_answer = !self.rules.iter().all(gives);
            self.rules.retain(gives);
            self.judge();
        }
    }

    /// Leaves out what is cleared, unless that is everything.
    fn clear(&mut self, is_cleared: impl Fn(&Suspect) -> bool) {
        let (cleared, kept): (Vec<_>, Vec<_>) = self.rules.drain(..).partition(is_cleared);
        if kept.is_empty() && !cleared.is_empty() {
            // They contradict the walk: the rules were changed, or another one dropped it.
            self.complete = false;
            self.rules = cleared;
        } else {
            self.rules = kept;
            self.cleared.extend(cleared);
        }
        self.judge();
    }

    fn judge(&mut self) {
        self.certain = self.complete && self.rules.len() == 1;
    }
}

impl Suspect {
    /// Whether the other is this rule, of another reading.
    fn is_same(&self, other: &Self) -> bool {
        let place = |one: &Self| (one.backend, one.family, one.number.is_some());
        let is_it = match self.handle.is_some() && self.handle == other.handle {
            true => true,
            false => self.number == other.number,
        };
        place(self) == place(other)
            && (&self.table, &self.chain, &self.text) == (&other.table, &other.chain, &other.text)
            && is_it
    }

    /// One phrase that says which rule it is.
    pub(crate) fn describe(&self) -> String {
        match self.quoted() {
            Some(text) => format!("{}: {text}", self.place()),
            None => self.place(),
        }
    }

    /// The rule itself, between backquotes; `None` for a policy.
    pub(crate) fn quoted(&self) -> Option<String> {
        self.number.map(|_| format!("`{}`", self.text))
    }

    /// Where it is, in words.
    pub(crate) fn place(&self) -> String {
        let Self {
            family,
            table,
            chain,
            ..
        } = self;
        let tool = match family {
            Family::Ip6 => "ip6tables",
            _ => "iptables",
        };
        let place = match (self.is_iptables, self.backend) {
            (true, Backend::Legacy) => format!("chain {chain} in table {table} ({tool}-legacy)"),
            (true, Backend::Nft) => format!("chain {chain} in table {table} ({tool}-nft)"),
            (false, _) => format!("chain {chain} in table {family} {table}"),
        };
        match (self.number, self.handle) {
            (None, _) => format!("the drop policy of {place}"),
            (Some(_), Some(handle)) if !self.is_iptables => {
                format!("rule handle {handle} of {place}")
            }
            (Some(number), _) => format!("rule {number} of {place}"),
        }
    }
}
