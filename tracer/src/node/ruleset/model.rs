//! What a ruleset is made of, whichever tool it was read with.

use std::{collections::HashMap, fmt, net::IpAddr};

use super::condition::{Condition, Element, Field, Mark, Since};

/// Which of the kernel's two engines a rule is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Backend {
    /// nf_tables, which iptables-nft uses as well.
    Nft,
    /// iptables' own tables in the kernel.
    Legacy,
}

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both of them.
    Inet,
    /// Frames that a bridge forwards.
    Bridge,
    /// Frames of one device.
    Netdev,
}

impl Family {
    /// The family as nft names it; `None` for one that sees no IP packets.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Ip, Self::Ip6, Self::Inet, Self::Bridge, Self::Netdev]
            .into_iter()
            .find(|family| family.name() == name)
    }

    /// As nft names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Tables, by either engine.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Its engine.
    pub(crate) backend: Backend,
    /// Its family.
    pub(crate) family: Family,
    /// Its name.
    pub(crate) name: String,
    /// Its chains; to be added by [`Table::add`] only.
    pub(crate) chains: Vec<Chain>,
    /// Where each chain is.
    places: HashMap<String, usize>,
    /// Its named sets.
    pub(crate) sets: HashMap<String, Set>,
    /// Its named verdict maps.
    pub(crate) maps: HashMap<String, Vec<Entry>>,
}

impl Table {
    /// A table without chains.
    pub(crate) fn new(backend: Backend, family: Family, name: &str) -> Self {
        Self {
            backend,
            family,
            name: name.to_owned(),
            chains: Vec::new(),
            places: HashMap::new(),
            sets: HashMap::new(),
            maps: HashMap::new(),
        }
    }

    /// Adds a chain, and returns its position.
    pub(crate) fn add(&mut self, chain: Chain) -> usize {
        let place = self.chains.len();
        self.places.insert(chain.name.clone(), place);
        self.chains.push(chain);
        place
    }

    /// Whether what it decides may change though its rules stay the same: packets fill its sets, or
    /// elements go when their time is over.
    pub(crate) fn changes_by_itself(&self) -> bool {
        let of_sets = self.sets.values().flat_map(|set| &set.elements);
        let of_maps = self.maps.values().flatten().map(|entry| &entry.element);
        let mut elements = of_sets.chain(of_maps);
        self.sets.values().any(|set| set.is_filled)
            || elements.any(|element| matches!(element.since, Since::Seconds(_)))
    }

    /// Whether it is iptables', by whichever engine: it looks like it, and its rules were read by
    /// iptables' own tool.
    pub(crate) fn is_iptables(&self) -> bool {
        let mut rules = self.chains.iter().flat_map(|chain| &chain.rules);
        let is_read = |rule: &Rule| rule.text.is_empty() || rule.text.starts_with("-A ");
        self.backend == Backend::Legacy || self.has_names_of_iptables() && rules.all(is_read)
    }

    /// Whether it has rules of which nft cannot show everything: matches and targets of iptables'.
    pub(super) fn has_opaque_rules(&self) -> bool {
        let mut rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.any(Rule::is_opaque)
    }

    /// Says of such rules that they are not shown whole: what nft prints in place of a match or a
    /// target is no rule.
    pub(super) fn name_opaque_rules(&mut self) {
        let rules = self.chains.iter_mut().flat_map(|chain| &mut chain.rules);
        for rule in rules.filter(|rule| rule.is_opaque()) {
            rule.text += "  # iptables' own matches and targets are not shown";
        }
    }

    /// Whether it is called as one of iptables', with base chains that have the names of hooks.
    pub(super) fn has_names_of_iptables(&self) -> bool {
        const TABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];
        let is_its = |chain: &Chain| {
            let base = chain.base.as_ref();
            base.is_none_or(|base| chain.name == base.hook.to_ascii_uppercase())
        };
        matches!(self.family, Family::Ip | Family::Ip6)
            && TABLES.contains(&self.name.as_str())
            && self.chains.iter().all(is_its)
    }

    /// The position of the chain with this name.
    pub(crate) fn chain(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}

/// One chain.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    /// Its name.
    pub(crate) name: String,
    /// Where it hangs; `None` for a chain that is only jumped to.
    pub(crate) base: Option<Base>,
    /// Its comment.
    pub(crate) comment: Option<String>,
    /// Its rules, in order.
    pub(crate) rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// The hook, in lower case as nft names it: `forward`.
    pub(crate) hook: String,
    /// Chains of a hook are walked by rising priority.
    pub(crate) priority: i64,
    /// The type is `nat`: only a connection's first packet comes here.
    pub(crate) is_nat: bool,
    /// What does not match any rule is dropped.
    pub(crate) drops: bool,
    /// Packets that the policy met, where that is counted.
    pub(crate) counter: Option<u64>,
    /// The devices that a netdev chain looks at.
    pub(crate) devices: Vec<String>,
}

/// One rule.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The kernel's number of the rule, in nf_tables.
    pub(crate) handle: Option<u64>,
    /// What it does, in order.
    pub(crate) statements: Vec<Statement>,
    /// Packets counted in front of its verdict. One that stands behind the verdict counts none of
    /// those that it dropped, and is not kept.
    pub(crate) counter: Option<Counter>,
    /// Its comment.
    pub(crate) comment: Option<String>,
    /// What it puts in front of each packet that it logs.
    pub(crate) log_prefix: Option<String>,
    /// The line, as the tool prints it.
    pub(crate) text: String,
}

impl Rule {
    pub(super) fn is_opaque(&self) -> bool {
        self.text.contains("xt match") || self.text.contains("xt target")
    }
}

/// A rule's counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    /// Packets counted.
    pub(crate) packets: u64,
    /// It counts what the verdict meets, and nothing else.
    pub(crate) exact: bool,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Statement {
    /// Go on only if this holds.
    Match(Condition),
    /// Change a mark.
    Mark(MarkChange),
    /// What becomes of the packet.
    Verdict(Verdict),
    /// A verdict for each key.
    VerdictMap {
        /// What is looked up.
        key: Vec<Field>,
        /// The name of the map, where it has one.
        name: Option<String>,
        /// Its entries, where it has no name.
        entries: Vec<Entry>,
    },
    /// Translate the connection's addresses; the packet leaves the chain.
    Nat(Nat),
    /// Give the packet the proxy's socket; without one, the rule ends here (`nft_tproxy_eval_v4()`).
    Tproxy(Proxy),
    /// Exempt the packet from tracking.
    Untrack,
    /// Have it tracked in this zone; `None` if which one is not known.
    Zone(Option<u16>),
    /// Write into a header.
    Rewrite(Field),
}

/// `to = (to & keep) ^ (from & mask) ^ xor`; bits outside `known` become anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MarkChange {
    /// The mark that is changed.
    pub(crate) to: Mark,
    /// Bits of it that are kept.
    pub(crate) keep: u32,
    /// The other mark whose bits are taken.
    pub(crate) from: Option<Mark>,
    /// Which of them.
    pub(crate) mask: u32,
    /// Bits that are then turned over.
    pub(crate) xor: u32,
    /// The bits that are known.
    pub(crate) known: u32,
}

impl MarkChange {
    /// The mark becomes anything.
    pub(crate) fn to_anything(to: Mark) -> Self {
        Self {
            known: 0,
            ..Self::kept(to, 0, 0)
        }
    }

    /// `(mark & keep) ^ xor`.
    pub(crate) fn kept(to: Mark, keep: u32, xor: u32) -> Self {
        Self {
            to,
            keep,
            from: None,
            mask: 0,
            xor,
            known: u32::MAX,
        }
    }
}

/// A translation that a rule sets up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nat {
    /// The destination is translated; otherwise the source.
    pub(crate) is_destination: bool,
    /// To which address; `None` where that is found out elsewhere.
    pub(crate) address: Option<IpAddr>,
    /// What becomes of the port.
    pub(crate) port: NatPort,
}

/// What a translation makes of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatPort {
    /// It stays.
    Kept,
    /// It becomes this one.
    To(u16),
    /// It becomes one that is not known here.
    Unknown,
}

/// An entry of a verdict map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) element: Element,
    /// What becomes of a packet with that key.
    pub(crate) verdict: Verdict,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Dropped in silence.
    Drop,
    /// Dropped, and the sender gets an answer.
    Reject(Answer),
    /// This base chain lets it pass.
    Accept,
    /// On with the chain, and back.
    Jump(String),
    /// On with the chain, without coming back here.
    Goto(String),
    /// Back to where the chain was jumped to from.
    Return,
    /// A process decides.
    Queue,
    /// To the proxy's socket; dropped where there is none.
    Proxy(Proxy),
    /// On with the next rule.
    Continue,
    /// May end the walk here, or not.
    Unknown,
}

/// What a rule answers that rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A TCP segment with RST.
    Reset,
    /// ICMP type 3 with the first code, or ICMPv6 type 1 with the second.
    Unreachable(u8, u8),
    /// It is not known.
    Unknown,
}

/// Where `TPROXY` sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// The address; `None` for the packet's own or the interface's.
    pub(crate) address: Option<IpAddr>,
    /// The port; `None` for the packet's own.
    pub(crate) port: Option<u16>,
}

/// A named set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Set {
    /// Its elements.
    pub(crate) elements: Vec<Element>,
    /// Elements may have gone between the drop and the reading.
    pub(crate) loses: bool,
    /// Rules put elements into it, or take them out.
    pub(crate) is_filled: bool,
}
