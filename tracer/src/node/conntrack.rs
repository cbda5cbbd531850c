//! The connection tracking table of a network namespace: how full it is, what it has counted, and
//! whether it has room for a packet's entry.

pub(crate) mod baseline;

use std::{collections::BTreeMap, fs};

use anyhow::Result;
use tracer_common::event::ct;

use super::{
    bypass::may_have_zones,
    sysctl::{self, read_if_there},
};
use crate::{
    decode::drop::Wire,
    model::Flow,
    net::{ConntrackEntry, conntrack_entry, conntrack_stats, netns::Inside},
};

/// Counters by the names of `conntrack -S`.
pub(crate) type Stats = BTreeMap<String, u64>;

/// The connection tracking table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conntrack {
    /// Entries in this namespace's table (`nf_conntrack_count`).
    pub(crate) count: u64,
    /// The most entries there may be (`nf_conntrack_max`); 0 is no limit. A namespace of a pod
    /// counts for itself, but cannot have a limit above the host's.
    pub(crate) max: u64,
    /// Whether that limit can be set in this namespace: of all others, it is the host's.
    pub(crate) is_settable: bool,
    /// What has happened so far, summed over CPUs (`conntrack -S`): `drop` (packets dropped as the
    /// table was full, or without memory), `early_drop` (entries given up to make room),
    /// `insert_failed`, `invalid`, and more. Empty if the kernel is built without it.
    pub(crate) stats: Stats,
    /// How far they have moved since the trace began; `None` where they were not read then.
    pub(crate) moved: Option<Stats>,
    /// The entry that was there already when the packet's own was to be inserted.
    pub(crate) taken: Option<ConntrackEntry>,
}

/// What conntrack has of the connection of a packet that it calls invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    /// Nothing.
    Unknown,
    /// Its first packet, and no answer.
    Unanswered,
    /// Packets of both directions, and segments out of the window are invalid.
    Answered,
}

impl Connection {
    /// Reads it in the network namespace this thread is in; `None` if it does not explain an invalid
    /// segment. Only entries outside of zones are found.
    ///
    /// # Errors
    ///
    /// The kernel does not answer, or a setting cannot be read.
    pub(crate) fn read(packet: &Flow) -> Result<Option<Self>> {
        const LIBERAL: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal";
        Ok(match conntrack_entry(packet, 0)? {
            None => Some(Self::Unknown),
            // The packet itself may be the answer.
            Some(entry) if entry.is_answered || entry.is_reply(packet) => {
                let is_strict = sysctl::number(LIBERAL)? == Some(0);
                is_strict.then_some(Self::Answered)
            }
            Some(_) => Some(Self::Unanswered),
        })
    }
}

impl Conntrack {
    /// Reads that of the network namespace this thread is in, for a packet. `None` if connection
    /// tracking is not loaded.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(crate) fn read(inside: &Inside, packet: Option<&Wire>) -> Result<Option<Self>> {
        let setting = |name| sysctl::number(&format!("/proc/sys/net/netfilter/{name}"));
        let (Some(count), Some(max)) =
            (setting("nf_conntrack_count")?, setting("nf_conntrack_max")?)
        else {
            return Ok(None);
        };
        // The mode follows the namespace of who looks, whatever its user may write.
        let mode = fs::metadata("/proc/sys/net/netfilter/nf_conntrack_max")?.permissions();
        let stats = stats()?;
        Ok(Some(Self {
            count,
            max,
            is_settable: !mode.readonly(),
            moved: baseline::moved(inside, &stats),
            stats,
            taken: packet.and_then(taken).filter(|_| !may_have_zones(inside)),
        }))
    }

    /// How often something was counted since the trace began, or ever where that is not known.
    pub(crate) fn counted(&self, name: &str) -> Option<u64> {
        let stats = self.moved.as_ref().unwrap_or(&self.stats);
        stats.get(name).copied()
    }

    /// Whether a new connection finds no room.
    pub(crate) fn is_full(&self) -> bool {
        self.max > 0 && self.count >= self.max
    }
}

/// The counters of the namespace that this thread is in.
fn stats() -> Result<Stats> {
    if let Ok(stats) = conntrack_stats() {
        return Ok(stats);
    }
    // The older way, which needs no module; kernels may be built without it.
    let stats = read_if_there("/proc/thread-self/net/stat/nf_conntrack")?;
    Ok(parse(&stats.unwrap_or_default()))
}

/// Whether conntrack looks at nothing in the namespace that this thread is in: it has no entry, and has
/// called no packet invalid. Without a rule that needs it, it is not in use there.
pub(super) fn sees_nothing() -> bool {
    let count = sysctl::number("/proc/sys/net/netfilter/nf_conntrack_count");
    let is_empty = count.is_ok_and(|count| count.unwrap_or(0) == 0);
    is_empty && stats().is_ok_and(|stats| stats.get("invalid").is_none_or(|count| *count == 0))
}

/// The entry of another connection or of another packet that has one of the two tuples which this
/// packet's entry, not yet in the table, was to have.
fn taken(packet: &Wire) -> Option<ConntrackEntry> {
    let (original, reply) = packet.entry.as_ref()?;
    (!is_in_table(packet)).then_some(())?;
    let (original, reply) = (Flow::from(original), Flow::from(reply));
    [reply, original].into_iter().find_map(|tuple| {
        let found = conntrack_entry(&tuple, 0).ok()??;
        ((found.original, found.reply) != (original, reply)).then_some(found)
    })
}

/// Whether the packet's entry is known to be in the table.
fn is_in_table(packet: &Wire) -> bool {
    packet.ct & ct::STATUS != 0 && (packet.ct >> ct::STATUS_SHIFT) & ct::CONFIRMED != 0
}

/// A line of names, then a line of hexadecimal values for each CPU.
fn parse(text: &str) -> Stats {
    let mut lines = text.lines();
    let names: Vec<_> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let mut sums = Stats::new();
    for line in lines {
        for (&name, value) in names.iter().zip(line.split_whitespace()) {
            // `entries` is that of the whole table, on each line.
            if name != "entries"
                && let Ok(value) = u64::from_str_radix(value, 16)
            {
                *sums.entry(name.to_owned()).or_default() += value;
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_cpus() {
        let stats = parse(
            "entries  clashres found new invalid ignore delete chainlength insert insert_failed \
             drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
             00000002  00000000 00000000 00000000 00000001 00000000 00000000 00000000 00000000 \
             00000000 0000000a 00000000 00000000  00000000 00000000 00000000 00000000\n\
             00000002  00000000 00000000 00000000 00000003 00000000 00000000 00000000 00000000 \
             00000000 00000010 00000000 00000000  00000000 00000000 00000000 00000000\n",
        );
        assert_eq!(stats["drop"], 26);
        assert_eq!(stats["invalid"], 4);
        assert!(!stats.contains_key("entries"));
        assert!(parse("").is_empty());
    }

    #[test]
    fn full_when_nothing_fits() {
        let with = |count, max| Conntrack {
            count,
            max,
            ..Conntrack::default()
        };
        assert!(with(8, 8).is_full());
        assert!(!with(7, 8).is_full());
        assert!(!with(7, 0).is_full());
    }
}
