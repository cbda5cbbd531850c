//! What connection tracking has counted so far (ctnetlink).

use std::{collections::BTreeMap, io};

use super::{
    message::{Message, Request},
    netlink::Netlink,
    subsystem::Subsystem,
};

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS_CPU`
const GET_STATS: u16 = 1 << 8 | 4;
/// Length of `struct nfgenmsg`.
const FIXED: usize = 4;

/// `enum ctattr_stats_cpu` of include/uapi/linux/netfilter/nfnetlink_conntrack.h, by the names that
/// `conntrack -S` prints.
const COUNTERS: [(u16, &str); 10] = [
    (2, "found"),
    (4, "invalid"),
    (8, "insert"),
    (9, "insert_failed"),
    (10, "drop"),
    (11, "early_drop"),
    (12, "error"),
    (13, "search_restart"),
    (14, "clash_resolve"),
    (15, "chaintoolong"),
];

/// The counters of the namespace that this thread is in, summed over CPUs.
///
/// # Errors
///
/// The kernel cannot be asked without loading a module.
pub(crate) fn conntrack_stats() -> io::Result<BTreeMap<String, u64>> {
    Subsystem::Conntrack.require()?;
    let mut sums = BTreeMap::new();
    let request = Request::new(GET_STATS, &[0; FIXED]);
    for cpu in Netlink::netfilter()?.dump(&request, |message| Some(read(message)))? {
        for (name, value) in cpu {
            *sums.entry(name.to_owned()).or_default() += value;
        }
    }
    Ok(sums)
}

/// The counters of one CPU.
pub(super) fn read(message: &Message<'_>) -> Vec<(&'static str, u64)> {
    let all = message.attributes(FIXED);
    let counters = COUNTERS.iter();
    counters
        .filter_map(|(kind, name)| Some((*name, u64::from(u32::from_be(all.u32(*kind)?)))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_by_their_names() {
        let number = |value: u32| value.to_be_bytes();
        let answer = Request::new(GET_STATS, &[0; FIXED])
            .with(9, &number(7))
            .with(10, &number(9))
            .with(99, &number(1));
        assert_eq!(read(&answer.message()), [("insert_failed", 7), ("drop", 9)]);
    }
}
