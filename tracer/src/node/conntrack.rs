//! How full the connection tracking table of a network namespace is.

use std::{collections::BTreeMap, fs};

use anyhow::Result;

use super::sysctl::{self, read_if_there};

/// The connection tracking table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries in this namespace's table (`nf_conntrack_count`).
    pub count: u64,
    /// The most entries there may be (`nf_conntrack_max`); 0 is no limit. A namespace of a pod
    /// counts for itself, but cannot have a limit above the host's.
    pub max: u64,
    /// Whether that limit can be set in this namespace: of all others, it is the host's.
    pub is_settable: bool,
    /// What has happened so far, summed over CPUs (`conntrack -S`): `drop` (packets dropped as the
    /// table was full, or without memory), `early_drop` (entries given up to make room),
    /// `insert_failed`, `invalid`, and more. Empty if the kernel is built without it.
    pub stats: BTreeMap<String, u64>,
}

impl Conntrack {
    /// Reads that of the network namespace this thread is in. `None` if connection tracking is not
    /// loaded.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn read() -> Result<Option<Self>> {
        let setting = |name| sysctl::number(&format!("/proc/sys/net/netfilter/{name}"));
        let (Some(count), Some(max)) =
            (setting("nf_conntrack_count")?, setting("nf_conntrack_max")?)
        else {
            return Ok(None);
        };
        // The mode follows the namespace of who looks, whatever its user may write.
        let mode = fs::metadata("/proc/sys/net/netfilter/nf_conntrack_max")?.permissions();
        let stats = read_if_there("/proc/thread-self/net/stat/nf_conntrack")?;
        Ok(Some(Self {
            count,
            max,
            is_settable: !mode.readonly(),
            stats: parse(&stats.unwrap_or_default()),
        }))
    }

    /// Whether a new connection finds no room.
    pub fn is_full(&self) -> bool {
        self.max > 0 && self.count >= self.max
    }
}

/// A line of names, then a line of hexadecimal values for each CPU.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let mut lines = text.lines();
    let names: Vec<_> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let mut sums = BTreeMap::new();
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
