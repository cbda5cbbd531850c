//! What a ruleset is made of, whichever tool it was read with.

use std::{collections::HashMap, fmt};

use super::condition::{Condition, Element, Field};

/// Which of the kernel's two engines a rule is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// nf_tables, which iptables-nft uses as well.
    Nft,
    /// iptables' own tables in the kernel.
    Legacy,
}

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
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
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ip, Self::Ip6, Self::Inet, Self::Bridge, Self::Netdev]
            .into_iter()
            .find(|family| family.name() == name)
    }

    /// As nft names it.
    pub fn name(self) -> &'static str {
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
pub struct Table {
    /// Its engine.
    pub backend: Backend,
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Its chains; to be added by [`Table::add`] only.
    pub chains: Vec<Chain>,
    /// Where each chain is.
    places: HashMap<String, usize>,
    /// Its named sets.
    pub sets: HashMap<String, Set>,
    /// Its named verdict maps.
    pub maps: HashMap<String, Vec<Entry>>,
}

impl Table {
    /// A table without chains.
    pub fn new(backend: Backend, family: Family, name: &str) -> Self {
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

    /// Adds a chain, and tells its position.
    pub fn add(&mut self, chain: Chain) -> usize {
        let place = self.chains.len();
        self.places.insert(chain.name.clone(), place);
        self.chains.push(chain);
        place
    }

    /// The position of the chain with this name.
    pub fn chain(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}

/// One chain.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where it hangs; `None` for a chain that is only jumped to.
    pub base: Option<Base>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The hook, in lower case as nft names it: `forward`.
    pub hook: String,
    /// Chains of a hook are walked by rising priority.
    pub priority: i64,
    /// The type is `nat`: only a connection's first packet comes here.
    pub is_nat: bool,
    /// What does not match any rule is dropped.
    pub drops: bool,
    /// Packets that the policy met, where that is counted.
    pub counter: Option<u64>,
    /// The devices that a netdev chain looks at.
    pub devices: Vec<String>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The kernel's number of the rule, in nf_tables.
    pub handle: Option<u64>,
    /// What it does, in order.
    pub statements: Vec<Statement>,
    /// Packets counted behind all its conditions (`exact`), or somewhere before.
    pub counter: Option<Counter>,
    /// Its comment.
    pub comment: Option<String>,
    /// The line, as the tool prints it.
    pub text: String,
}

/// A rule's counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Packets counted.
    pub packets: u64,
    /// It counts what the verdict meets, and nothing else.
    pub exact: bool,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// Go on only if this holds.
    Match(Condition),
    /// Change the firewall mark: `(mark & and) ^ xor`; bits outside `known` become anything.
    Mark {
        /// Bits that are kept.
        and: u32,
        /// Bits that are then turned over.
        xor: u32,
        /// Bits of which this tells the truth.
        known: u32,
    },
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
}

/// An entry of a verdict map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub element: Element,
    /// What becomes of a packet with that key.
    pub verdict: Verdict,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Dropped in silence.
    Drop,
    /// Dropped, and the sender told.
    Reject,
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
    /// On with the next rule.
    Continue,
    /// May end the walk here, or not.
    Unknown,
}

/// A named set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    /// Its elements.
    pub elements: Vec<Element>,
    /// Elements come and go by themselves, so what is read now proves little.
    pub is_volatile: bool,
}
