//! The memory for fragments that wait for the rest of their packet.

use std::fs;

use anyhow::{Context as _, Result};

use super::sysctl;

/// That memory, of one protocol in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragments {
    /// Bytes in use; `None` where the kernel does not say.
    pub(crate) used: Option<u64>,
    /// The most bytes that may be in use; 0 is none at all for IPv6, and no limit for IPv4.
    pub(crate) limit: u64,
    /// The setting of that limit.
    pub(crate) setting: &'static str,
    /// How often reassembly has failed so far.
    pub(crate) failed: u64,
    /// What counts that.
    pub(crate) counter: &'static str,
}

/// Where a protocol says what.
struct Source {
    setting: &'static str,
    used: Option<(&'static str, &'static str)>,
    counters: &'static str,
    counter: &'static str,
}

const IPV4: Source = Source {
    setting: "net.ipv4.ipfrag_high_thresh",
    used: Some(("/proc/thread-self/net/sockstat", "FRAG")),
    counters: "/proc/thread-self/net/snmp",
    counter: "ReasmFails",
};
const IPV6: Source = Source {
    setting: "net.ipv6.ip6frag_high_thresh",
    used: Some(("/proc/thread-self/net/sockstat6", "FRAG6")),
    counters: "/proc/thread-self/net/snmp6",
    counter: "Ip6ReasmFails",
};
/// Netfilter reassembles IPv6 by itself, and has memory of its own for that.
const IPV6_IN_NETFILTER: Source = Source {
    setting: "net.netfilter.nf_conntrack_frag6_high_thresh",
    used: None,
    ..IPV6
};

impl Fragments {
    /// The kernel's own limit.
    pub(crate) const USUAL_LIMIT: u64 = 4 << 20;

    /// Reads it in the namespace that this thread is in. `None` if there is no such limit.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(super) fn read(is_ipv4: bool, in_netfilter: bool) -> Result<Option<Self>> {
        let source = match (is_ipv4, in_netfilter) {
            (true, _) => IPV4,
            (false, true) => IPV6_IN_NETFILTER,
            (false, false) => IPV6,
        };
        let path = format!("/proc/sys/{}", source.setting.replace('.', "/"));
        let Some(limit) = sysctl::number(&path)? else {
            return Ok(None);
        };
        let read =
            |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        let used = match source.used {
            Some((path, line)) => memory(&read(path)?, line),
            None => None,
        };
        Ok(Some(Self {
            used,
            limit,
            setting: source.setting,
            failed: failures(&read(source.counters)?, source.counter).unwrap_or(0),
            counter: source.counter,
        }))
    }

    /// Whether the next fragment finds no room. Where the memory in use is not known: whether the
    /// limit is lower than the usual one, and reassembly has failed.
    pub(crate) fn is_full(&self) -> bool {
        match self.used {
            Some(used) => self.failed > 0 && used >= self.limit,
            None => self.failed > 0 && self.limit < Self::USUAL_LIMIT,
        }
    }
}

/// `FRAG: inuse 1 memory 4352`
fn memory(text: &str, line: &str) -> Option<u64> {
    let values = text.lines().find_map(|all| {
        let (name, values) = all.split_once(':')?;
        (name == line).then_some(values)
    })?;
    let mut words = values.split_whitespace();
    words.find(|word| *word == "memory")?;
    words.next()?.parse().ok()
}

/// A counter of `/proc/net/snmp`, in a line of names and a line of values, or of `/proc/net/snmp6`,
/// in a line of its own.
fn failures(text: &str, counter: &str) -> Option<u64> {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        if line.starts_with("Ip:")
            && let Some(at) = words.clone().position(|word| word == counter)
        {
            return lines.peek()?.split_whitespace().nth(at)?.parse().ok();
        }
        if words.next() == Some(counter) {
            return words.next()?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_failures_are_found() {
        let sockstat = "sockets: used 9\nTCP: inuse 1\nFRAG: inuse 2 memory 4352\n";
        assert_eq!(memory(sockstat, "FRAG"), Some(4352));
        assert_eq!(memory(sockstat, "FRAG6"), None);
        let snmp = "Ip: Forwarding ReasmReqds ReasmFails\nIp: 1 8 3\nIcmp: InMsgs\nIcmp: 0\n";
        assert_eq!(failures(snmp, "ReasmFails"), Some(3));
        let snmp6 = "Ip6InReceives    7\nIp6ReasmFails    2\n";
        assert_eq!(failures(snmp6, "Ip6ReasmFails"), Some(2));
        assert_eq!(failures("", "ReasmFails"), None);
    }

    #[test]
    fn full_is_all_of_the_limit() {
        let with = |used, limit, failed| Fragments {
            used,
            limit,
            setting: IPV4.setting,
            failed,
            counter: IPV4.counter,
        };
        assert!(with(Some(2304), 2000, 3).is_full());
        assert!(!with(Some(1000), 2000, 3).is_full());
        assert!(!with(Some(2304), 2000, 0).is_full());
        assert!(with(None, 2000, 1).is_full());
        assert!(!with(None, Fragments::USUAL_LIMIT, 1).is_full());
    }

    #[test]
    fn ones_own_namespace_has_it() {
        let own = Fragments::read(true, false).unwrap();
        assert!(own.is_some_and(|own| own.used.is_some()));
    }
}
