//! Netfilter rules, in both dialects.

use anyhow::{Context, Result};

use crate::lab::{Family, Namespace};

/// A base chain of nftables with a single rule.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    /// The table's family: `inet`, `ip`, `bridge`, `netdev`, …
    pub family: &'a str,
    /// `filter` or `nat`.
    pub kind: &'a str,
    /// The hook: `forward`, `ingress`, …
    pub hook: &'a str,
    /// The interface, for chains of the family `netdev`.
    pub device: Option<&'a str>,
}

impl<'a> Chain<'a> {
    /// A filter chain of the family `inet`.
    pub fn inet(hook: &'a str) -> Self {
        Self {
            family: "inet",
            kind: "filter",
            hook,
            device: None,
        }
    }

    /// A filter chain of the family `bridge`.
    pub fn bridge(hook: &'a str) -> Self {
        Self {
            family: "bridge",
            ..Self::inet(hook)
        }
    }

    /// A filter chain on one interface.
    pub fn netdev(hook: &'a str, device: &'a str) -> Self {
        Self {
            family: "netdev",
            device: Some(device),
            ..Self::inet(hook)
        }
    }

    /// A destination NAT chain of the family `inet`.
    pub fn dnat() -> Self {
        Self {
            kind: "nat",
            ..Self::inet("prerouting")
        }
    }

    /// Where the chain stands among those of its hook: what nft calls `dstnat` and `filter`.
    ///
    /// On a bridge `filter` comes before br_netfilter, as it must: up to Linux 6.7, what
    /// br_netfilter takes away on the way through FORWARD skips the chains with priority 0
    /// (`br_nf_hook_thresh`, net/bridge/br_netfilter_hooks.c).
    fn priority(&self) -> i32 {
        match (self.kind, self.family) {
            ("nat", _) => -100,
            (_, "bridge") => -200,
            _ => 0,
        }
    }

    /// The table that holds the chain: one for each, so that rules stay apart.
    fn table(&self) -> String {
        format!("{} {}_{}", self.family, self.kind, self.hook)
    }
}

/// Adds a rule to a chain, which is made if it is not there.
pub fn nft(namespace: &Namespace, chain: Chain<'_>, rule: &str) -> Result<()> {
    let table = chain.table();
    let Chain { kind, hook, .. } = chain;
    let device = chain
        .device
        .map(|device| format!(" device \"{device}\""))
        .unwrap_or_default();
    let priority = chain.priority();
    namespace
        .run_with_input(
            "nft -f -",
            &format!(
                "add table {table}\n\
                 add chain {table} c {{ type {kind} hook {hook}{device} priority {priority}; }}\n\
                 add rule {table} c {rule}\n"
            ),
        )
        .map(drop)
}

/// How many packets the only counter in a chain has seen.
pub fn counted_packets(namespace: &Namespace, chain: Chain<'_>) -> Result<u64> {
    let listing = namespace.run(&format!("nft list chain {} c", chain.table()))?;
    let mut words = listing
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    words
        .nth(1)
        .context("no counter in the chain")?
        .parse()
        .context("not a counter")
}

/// An iptables rule, in the legacy implementation that is not nftables underneath.
#[derive(Debug, Clone, Copy)]
pub struct Iptables<'a> {
    /// `filter`, `raw`, `mangle`, …
    pub table: &'a str,
    /// `INPUT`, `FORWARD`, …
    pub chain: &'a str,
}

impl Iptables<'_> {
    /// Appends a rule.
    pub fn append(&self, namespace: &Namespace, family: Family, rule: &str) -> Result<()> {
        let program = family.pick("iptables-legacy", "ip6tables-legacy");
        let Self { table, chain } = self;
        // Waits for the lock, which all namespaces share.
        namespace
            .run(&format!("{program} -w -t {table} -A {chain} {rule}"))
            .map(drop)
    }
}
