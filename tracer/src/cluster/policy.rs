//! NetworkPolicies, in a form in which nothing contradicts anything.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

pub(crate) use super::objects::Protocol;
use super::{objects::ObjectName, selector::Selector};
pub(crate) use crate::model::PolicyDirection as Direction;

/// A NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Its name.
    pub(crate) id: ObjectName,
    /// Which pods of its namespace it is about.
    pub(crate) pods: Selector,
    /// What it admits to them; `None` where it does not isolate them for ingress.
    pub(crate) ingress: Option<Vec<Rule>>,
    /// What it admits from them; `None` where it does not isolate them for egress.
    pub(crate) egress: Option<Vec<Rule>>,
    /// A direction that has rules which `policyTypes` does not list, and so do nothing.
    pub(crate) idle_rules: Option<Direction>,
}

impl Policy {
    /// The rules for a direction; `None` where it does not isolate for it.
    #[must_use]
    pub(crate) fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// Admits traffic that matches one of its peers and one of its ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The elements of `from` or `to`; empty admits every peer.
    pub(crate) peers: Vec<Element>,
    /// The ports; empty admits every port of every protocol.
    pub(crate) ports: Vec<PortRule>,
}

/// One element of `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    /// Addresses.
    Block {
        /// These addresses …
        net: IpNet,
        /// … but not these.
        except: Vec<IpNet>,
    },
    /// Pods.
    Pods {
        /// In which namespaces; `None` for the policy's own.
        namespaces: Option<Selector>,
        /// Which pods there; `None` for all of them.
        pods: Option<Selector>,
    },
}

/// Whether an `ipBlock` holds an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It would, but for its `except`.
    Excepted,
}

/// Whether `net` without `except` holds an address.
#[must_use]
pub(crate) fn held(net: &IpNet, except: &[IpNet], address: IpAddr) -> Held {
    if !net.contains(&address) {
        Held::No
    } else if except.iter().any(|net| net.contains(&address)) {
        Held::Excepted
    } else {
        Held::Yes
    }
}

/// One element of `ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortRule {
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The ports; `None` for all.
    pub(crate) port: Option<PortSpec>,
}

/// Ports of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PortSpec {
    /// From one to another, both included.
    Range(u16, u16),
    /// What the destination pod calls so.
    Named(String),
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(first, last) if first == last => write!(f, "{first}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}
