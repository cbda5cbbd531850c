//! Policy rules: which routing table a packet is looked up in.

use std::fmt;

use ipnet::IpNet;

/// Number of the table of own addresses (`RT_TABLE_LOCAL`).
pub const LOCAL: u32 = 255;

/// A rule of `ip rule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Of IPv4, or else of IPv6.
    pub is_ipv4: bool,
    /// Rules are tried by rising priority.
    pub priority: u32,
    /// Sources that it is for.
    pub from: Option<IpNet>,
    /// Destinations that it is for.
    pub to: Option<IpNet>,
    /// The link that packets came in by; `lo` for those that are sent from here.
    pub input: Option<String>,
    /// The link that a socket is bound to.
    pub output: Option<String>,
    /// Value and mask of the firewall mark.
    pub mark: Option<(u32, u32)>,
    /// It holds for what does not match.
    pub inverted: bool,
    /// It asks for something else, too: user, protocol, ports, or the length of the prefix found.
    pub asks_more: bool,
    /// What it does.
    pub action: Action,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Looks up this table.
    Lookup(u32),
    /// Looks up the table of the VRF that the link belongs to.
    Vrf,
    /// Drops silently.
    Blackhole,
    /// Answers "network unreachable".
    Unreachable,
    /// Answers "prohibited".
    Prohibit,
    /// Another one (`FR_ACT_…`).
    Other(u8),
}

/// As ip(8) prints it.
impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.priority)?;
        if self.inverted {
            write!(f, "not ")?;
        }
        match self.from {
            Some(from) => write!(f, "from {from}")?,
            None => write!(f, "from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        match self.mark {
            Some((mark, u32::MAX)) => write!(f, " fwmark {mark:#x}")?,
            Some((mark, mask)) => write!(f, " fwmark {mark:#x}/{mask:#x}")?,
            None => {}
        }
        if let Some(input) = &self.input {
            write!(f, " iif {input}")?;
        }
        if let Some(output) = &self.output {
            write!(f, " oif {output}")?;
        }
        match self.action {
            Action::Lookup(LOCAL) => write!(f, " lookup local"),
            Action::Lookup(254) => write!(f, " lookup main"),
            Action::Lookup(253) => write!(f, " lookup default"),
            Action::Lookup(table) => write!(f, " lookup {table}"),
            Action::Vrf => write!(f, " lookup [l3mdev-table]"),
            Action::Blackhole => write!(f, " blackhole"),
            Action::Unreachable => write!(f, " unreachable"),
            Action::Prohibit => write!(f, " prohibit"),
            Action::Other(number) => write!(f, " action {number}"),
        }
    }
}
