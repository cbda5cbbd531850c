//! What conntrack had counted when the trace began: a counter is evidence of a drop only by
//! how far it has moved.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{Stats, stats};
use crate::net::netns::{Inside, Namespace, NetnsRef, in_netns};

/// How long one namespace may take.
const LIMIT: Duration = Duration::from_secs(1);

/// The first reading of each namespace, by its inode number.
static FIRST: Mutex<BTreeMap<u32, First>> = Mutex::new(BTreeMap::new());

struct First {
    /// An inode number can come to mean another namespace; this does not.
    cookie: Option<u64>,
    stats: Stats,
}

/// Reads the counters of the watched namespaces, on a thread of its own: a trace does not wait.
pub(crate) fn read(namespaces: &[Namespace]) {
    let paths: Vec<_> = namespaces
        .iter()
        .map(|namespace| NetnsRef::Path(namespace.path().to_owned()))
        .collect();
    let work = move || {
        for netns in paths {
            // Without a reading, counters are shown as they are.
            let _ = in_netns(&netns, LIMIT, remember);
        }
    };
    let _ = thread::Builder::new().name("conntrack".into()).spawn(work);
}

fn remember(inside: Inside) -> Result<()> {
    let first = First {
        cookie: inside.cookie,
        stats: stats()?,
    };
    lock().insert(inside.inode, first);
    Ok(())
}

/// How far the counters have moved since the trace began; `None` where they were not read then.
pub(super) fn moved(inside: &Inside, now: &Stats) -> Option<Stats> {
    let known = lock();
    let first = known.get(&inside.inode)?;
    (first.cookie == inside.cookie).then(|| difference(&first.stats, now))?
}

/// `None` where a counter went back: it is not the same table.
fn difference(then: &Stats, now: &Stats) -> Option<Stats> {
    let moved = now.iter().map(|(name, value)| {
        let before = then.get(name).copied().unwrap_or_default();
        Some((name.clone(), value.checked_sub(before)?))
    });
    moved.collect()
}

fn lock() -> MutexGuard<'static, BTreeMap<u32, First>> {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(insert_failed: u64) -> Stats {
        [("insert_failed".to_owned(), insert_failed)].into()
    }

    #[test]
    fn only_what_moved_counts() {
        assert_eq!(difference(&reading(3), &reading(5)), Some(reading(2)));
        assert_eq!(difference(&Stats::new(), &reading(5)), Some(reading(5)));
        assert_eq!(difference(&reading(5), &reading(3)), None);
    }
}
