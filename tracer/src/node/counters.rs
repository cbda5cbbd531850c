//! The counters of a network namespace: `/proc/net/snmp`, `snmp6` and `netstat`.
//!
//! They have the names that `nstat -az` shows, so that what is said can be checked by hand:
//! `TcpExtListenOverflows`, `IpInAddrErrors`, `Ip6InNoRoutes`.

use std::collections::BTreeMap;

use anyhow::Result;

use super::sysctl::read_if_there;

/// Names of counters that show what became of packets.
pub(crate) mod name {
    /// A SYN or a last ACK of a handshake found the listener's accept queue full.
    pub(crate) const LISTEN_OVERFLOWS: &str = "TcpExtListenOverflows";
    /// A listener dropped a SYN or a last ACK for whatever reason, a full accept queue included.
    pub(crate) const LISTEN_DROPS: &str = "TcpExtListenDrops";
    /// A process has read a datagram that came over IPv4.
    pub(crate) const UDP_READ: &str = "UdpInDatagrams";
    /// The same over IPv6.
    pub(crate) const UDP6_READ: &str = "Udp6InDatagrams";
}

/// What goes up and down, or is a setting.
const GAUGES: [&str; 8] = [
    "IpForwarding",
    "IpDefaultTTL",
    "TcpRtoAlgorithm",
    "TcpRtoMin",
    "TcpRtoMax",
    "TcpMaxConn",
    "TcpCurrEstab",
    "MPTcpExtMPCurrEstab",
];

/// What only ever grows in one namespace.
const GROWING: [&str; 4] = [
    "IpInReceives",
    "IpExtInOctets",
    "Ip6InReceives",
    "TcpInSegs",
];

/// One reading of all counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    values: BTreeMap<String, u64>,
}

impl Counters {
    /// Reads those of the network namespace this thread is in.
    ///
    /// # Errors
    ///
    /// A file cannot be read. That of IPv6 may be missing.
    pub(crate) fn read() -> Result<Self> {
        let file = |name| read_if_there(&format!("/proc/thread-self/net/{name}"));
        let mut counters = Self::default();
        counters.parse_tables(&file("snmp")?.unwrap_or_default());
        counters.parse_tables(&file("netstat")?.unwrap_or_default());
        counters.parse_lines(&file("snmp6")?.unwrap_or_default());
        Ok(counters)
    }

    /// A counter's value; `None` if this kernel does not have it.
    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        self.values.get(name).copied()
    }

    /// The counters that have moved since an earlier reading, and by how much. `None` if the
    /// earlier reading is of another namespace, which shows when counters went back.
    pub(crate) fn since(&self, earlier: &Self) -> Option<BTreeMap<String, u64>> {
        if GROWING
            .iter()
            .any(|&name| self.get(name) < earlier.get(name))
        {
            return None;
        }
        let moved = self.values.iter().filter_map(|(name, &value)| {
            // `IcmpMsg` shows a type only once it was seen.
            let moved = value.checked_sub(earlier.get(name).unwrap_or(0))?;
            let counts = moved > 0 && !GAUGES.contains(&name.as_str());
            counts.then(|| (name.clone(), moved))
        });
        Some(moved.collect())
    }

    /// The format of `snmp` and `netstat`: a line of names, then a line of values.
    fn parse_tables(&mut self, text: &str) {
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let mut names = names.split_whitespace();
            let mut values = values.split_whitespace();
            let Some(group) = names.next() else { continue };
            if values.next() != Some(group) {
                continue;
            }
            let group = group.trim_end_matches(':');
            for (name, value) in names.zip(values) {
                // `MaxConn` may be -1, for no limit.
                if let Ok(value) = value.parse() {
                    self.values.insert(format!("{group}{name}"), value);
                }
            }
        }
    }

    /// The format of `snmp6`: a name and a value on each line.
    fn parse_lines(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(value)) = (words.next(), words.next())
                && let Ok(value) = value.parse()
            {
                self.values.insert(name.to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams
Ip: 2 64 45380 0 3 0
IcmpMsg: InType0 InType3
IcmpMsg: 4 6
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens CurrEstab InSegs
Tcp: 1 200 120000 -1 161 2 45063
";
    const NETSTAT: &str = "\
TcpExt: SyncookiesSent LockDroppedIcmps ListenOverflows ListenDrops TCPReqQFullDrop
TcpExt: 0 1 12 13 0
IpExt: InNoRoutes InOctets
IpExt: 0 18446744073709551615
";
    const SNMP6: &str = "\
Ip6InReceives                   \t3
Ip6InNoRoutes                   \t1
Icmp6OutType133                 \t2
";

    fn recorded() -> Counters {
        let mut counters = Counters::default();
        counters.parse_tables(SNMP);
        counters.parse_tables(NETSTAT);
        counters.parse_lines(SNMP6);
        counters
    }

    #[test]
    fn reads_the_kernels_formats() {
        let counters = recorded();
        assert_eq!(counters.get(name::LISTEN_OVERFLOWS), Some(12));
        assert_eq!(counters.get(name::LISTEN_DROPS), Some(13));
        assert_eq!(counters.get("IpInAddrErrors"), Some(3));
        assert_eq!(counters.get("Ip6InNoRoutes"), Some(1));
        assert_eq!(counters.get("IpExtInOctets"), Some(u64::MAX));
        assert_eq!(counters.get("IcmpMsgInType3"), Some(6));
        assert_eq!(counters.get("TcpActiveOpens"), Some(161));
        assert_eq!(counters.get("TcpMaxConn"), None);
        assert_eq!(counters.get("TcpExtNoSuchCounter"), None);
    }

    #[test]
    fn broken_text_is_no_counter() {
        let mut counters = Counters::default();
        counters.parse_tables("Ip: A B\nTcp: 1 2\nUdp: C\n");
        counters.parse_lines("Ip6InReceives\n\nIp6OutRequests x\n");
        assert_eq!(counters, Counters::default());
    }

    #[test]
    fn shows_what_moved() {
        let before = recorded();
        let mut after = before.clone();
        for (name, value) in [
            (name::LISTEN_OVERFLOWS, 14),
            ("TcpCurrEstab", 9),
            ("IcmpMsgInType8", 1),
        ] {
            after.values.insert(name.to_owned(), value);
        }
        let moved = after.since(&before).unwrap();
        let expected = [(name::LISTEN_OVERFLOWS, 2), ("IcmpMsgInType8", 1)];
        assert_eq!(
            moved,
            expected.map(|(name, by)| (name.to_owned(), by)).into()
        );
    }

    #[test]
    fn counters_that_went_back_are_of_another_namespace() {
        let before = recorded();
        let mut after = before.clone();
        after.values.insert("TcpInSegs".to_owned(), 5);
        assert_eq!(after.since(&before), None);
    }

    #[test]
    fn this_kernel_has_the_counters_of_interest() {
        let counters = Counters::read().unwrap();
        for name in [name::LISTEN_OVERFLOWS, name::LISTEN_DROPS] {
            assert!(counters.get(name).is_some(), "{name}");
        }
    }
}
