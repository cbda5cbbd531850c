//! Netfilter hooks.

use std::{fmt, str::FromStr};

/// A netfilter hook, of the IP families, of the bridge family, or of a network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are netfilter's")]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    BridgePrerouting,
    BridgeInput,
    BridgeForward,
    BridgeOutput,
    BridgePostrouting,
    Ingress,
    Egress,
}

const NAMES: [(Hook, &str); 12] = [
    (Hook::Prerouting, "PREROUTING"),
    (Hook::Input, "INPUT"),
    (Hook::Forward, "FORWARD"),
    (Hook::Output, "OUTPUT"),
    (Hook::Postrouting, "POSTROUTING"),
    (Hook::BridgePrerouting, "BRIDGE_PREROUTING"),
    (Hook::BridgeInput, "BRIDGE_INPUT"),
    (Hook::BridgeForward, "BRIDGE_FORWARD"),
    (Hook::BridgeOutput, "BRIDGE_OUTPUT"),
    (Hook::BridgePostrouting, "BRIDGE_POSTROUTING"),
    (Hook::Ingress, "INGRESS"),
    (Hook::Egress, "EGRESS"),
];

impl Hook {
    /// Its name in reports: iptables' name, behind `BRIDGE_` where it is a bridge's.
    pub fn name(self) -> &'static str {
        let mut names = NAMES.iter();
        names
            .find(|(known, _)| *known == self)
            .map_or("", |(_, name)| name)
    }

    /// Its name in its own family, without `BRIDGE_`.
    pub fn name_in_family(self) -> &'static str {
        self.name().trim_start_matches("BRIDGE_")
    }

    /// A hook of the bridge family.
    pub fn is_bridge(self) -> bool {
        self.name().starts_with("BRIDGE_")
    }

    /// A hook of a network device.
    pub fn is_device(self) -> bool {
        matches!(self, Self::Ingress | Self::Egress)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no hook has.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no netfilter hook")]
pub struct UnknownHook(String);

/// Reads what `Display` writes.
impl FromStr for Hook {
    type Err = UnknownHook;

    fn from_str(name: &str) -> Result<Self, UnknownHook> {
        let mut names = NAMES.iter();
        let found = names.find(|(_, known)| *known == name);
        found
            .map(|(hook, _)| *hook)
            .ok_or_else(|| UnknownHook(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_comes_back_from_its_name() {
        for (hook, name) in NAMES {
            assert_eq!(hook.name(), name);
            assert_eq!(name.parse::<Hook>().expect("a hook"), hook);
        }
        assert_eq!(Hook::BridgeForward.name_in_family(), "FORWARD");
    }
}
