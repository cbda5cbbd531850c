//! The rules of a real cluster's nodes, loaded into a lab.

use anyhow::Result;

use crate::lab::Namespace;

/// Which node's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedNode {
    /// kube-proxy and kube-router, both by iptables; the pod `prod/server`.
    N1Iptables,
    /// kube-proxy by iptables, kube-router by nftables; the same pod.
    N1,
    /// Both by nftables; the pod `prod/client-ok`.
    N2,
}

impl RecordedNode {
    /// The node's number, as its addresses have it.
    pub fn number(self) -> u8 {
        match self {
            Self::N1Iptables | Self::N1 => 1,
            Self::N2 => 2,
        }
    }
}

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../tracer/testdata/ruleset/", $name))
    };
}

/// Loads them, in the order in which a node comes by them: kube-proxy, then the policies.
pub fn load(node: &Namespace, recorded: RecordedNode) -> Result<()> {
    // A rule of kube-proxy's names it.
    node.run("nfacct add ct_state_invalid_dropped_pkts")?;
    match recorded {
        RecordedNode::N1Iptables => {
            node.run_with_input("ipset restore", &as_commands(recorded!("n1-ipset.txt")))?;
            load_iptables(node, recorded)
        }
        RecordedNode::N1 => {
            load_iptables(node, recorded)?;
            load_tables(node, recorded!("n1-nft.txt"), "kube-router-filter-ipv4")
        }
        RecordedNode::N2 => {
            load_iptables(node, recorded)?;
            load_tables(node, recorded!("n2-nft.txt"), "kube-proxy")
        }
    }
}

/// Loads the recorded rules of iptables, in place of those that are there.
pub fn load_iptables(node: &Namespace, recorded: RecordedNode) -> Result<()> {
    let rules = match recorded {
        RecordedNode::N1Iptables => recorded!("n1-iptables-kube-router.txt"),
        RecordedNode::N1 => recorded!("n1-iptables.txt"),
        RecordedNode::N2 => recorded!("n2-iptables.txt"),
    };
    node.run_with_input("iptables-nft-restore", rules).map(drop)
}

/// Loads the policies of n2, by which its pod may open no connection.
pub fn load_policies_of_n2(node: &Namespace) -> Result<()> {
    load_tables(node, recorded!("n2-nft.txt"), "kube-router-filter-ipv4")
}

/// Loads the tables of this name, in whichever family. What iptables made is not theirs to load:
/// nft prints it without what iptables' own matches ask.
fn load_tables(node: &Namespace, listing: &str, name: &str) -> Result<()> {
    let mut wanted = false;
    let mut tables = String::new();
    for line in listing.lines() {
        if let Some(table) = line.strip_prefix("table ") {
            wanted = table.split(' ').nth(1) == Some(name);
        }
        if wanted {
            tables.push_str(line);
            tables.push('\n');
        }
    }
    node.run_with_input("nft -f -", &tables).map(drop)
}

/// What `ipset list` printed, as `ipset restore` takes it.
fn as_commands(listing: &str) -> String {
    let mut commands = String::new();
    let mut name = "";
    for line in listing.lines() {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        match key {
            "Name" => name = value,
            "Type" => commands.push_str(&format!("create {name} {value} timeout 0\n")),
            _ if key.starts_with(|first: char| first.is_ascii_digit()) => {
                commands.push_str(&format!("add {name} {line}\n"));
            }
            _ => {}
        }
    }
    commands
}
