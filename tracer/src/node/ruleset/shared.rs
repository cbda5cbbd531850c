//! The rules of a namespace, read once for all drops that need them.
//!
//! At most one thread reads the rules of a namespace; drops that need them meanwhile wait for it. A drop
//! can use a reading that began after it. If it may be earlier, it can also use one of nf_tables alone
//! that took long, for ten seconds, as long as the kernel's generation of the rules is the same.
//! A reading that takes longer than an answer may is not broken off: later drops use it.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Ruleset,
    model::{Backend, Family, Table},
    packet::HookPacket,
};
use crate::{
    kernel::priority::be_nice,
    net::{Subsystem, netns::Inside, nft_generation},
};

/// How long a reader may take; those that have asked it wait for less.
const READS_FOR: Duration = Duration::from_secs(60);
/// How long an earlier reading is used again, if nothing was changed since …
const HOLDS: Duration = Duration::from_secs(10);
/// … and from what time on that is worth it: it has older counters.
const SLOW: Duration = Duration::from_millis(200);
/// What is kept of the time to answer for the rest of the question.
const FOR_THE_REST: Duration = Duration::from_millis(300);

/// The rules that a packet could have met.
pub(crate) struct Shared {
    pub(crate) ruleset: Arc<Ruleset>,
    /// Whether they were read after the drop, so that the dropping rule has counted it.
    pub(crate) has_counted: bool,
    /// What nf_tables called its rules all the time that they were read.
    pub(crate) generation: Option<u32>,
}

/// A namespace: its inode number, and the one that is never used twice.
type Key = (u32, Option<u64>);

#[derive(Default)]
struct State {
    is_reading: bool,
    /// By the hooks that were asked for.
    readings: HashMap<u64, Reading>,
}

#[derive(Clone)]
struct Reading {
    ruleset: Arc<Ruleset>,
    begun: Instant,
    ended: Instant,
    /// What nf_tables called its rules at the start and at the end, if that was the same.
    generation: Option<u32>,
}

static STATES: LazyLock<Mutex<HashMap<Key, State>>> = LazyLock::new(Mutex::default);
static READ: Condvar = Condvar::new();

impl Ruleset {
    /// What could have dropped a packet at this time: see [`Ruleset::read_for`]. `may_be_earlier` says
    /// whether rules will do that were read before the drop. `None` while they are still being read.
    pub(crate) fn shared_for(
        inside: &Inside,
        packet: &HookPacket,
        dropped_at: SystemTime,
        may_be_earlier: bool,
    ) -> Option<Shared> {
        let since = instant(dropped_at);
        let (key, hooks) = ((inside.inode, inside.cookie), hooks(packet));
        let until = inside.deadline.checked_sub(FOR_THE_REST)?;
        let mut states = lock();
        loop {
            forget_old(&mut states);
            let state = states.entry(key).or_default();
            let reading = state.readings.get(&hooks);
            if let Some(shared) = reading.and_then(|one| one.for_drop(since, may_be_earlier)) {
                return Some(shared);
            }
            if !state.is_reading {
                state.is_reading = start(*inside, packet.clone(), key, hooks);
            }
            let left = until.checked_duration_since(Instant::now())?;
            let waited = READ.wait_timeout(states, left);
            states = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Reading {
    fn for_drop(&self, since: Instant, may_be_earlier: bool) -> Option<Shared> {
        let has_counted = self.begun >= since;
        let is_same = || may_be_earlier && self.holds_at(generation);
        (has_counted || is_same()).then(|| Shared {
            ruleset: Arc::clone(&self.ruleset),
            has_counted,
            generation: self.generation.filter(|_| self.is_numbered()),
        })
    }

    /// Whether the number changes with all of these rules: those of iptables-legacy, and the elements of
    /// an ipset, change without it, and so does a set that packets fill.
    fn is_numbered(&self) -> bool {
        let mut tables = self.ruleset.tables.iter();
        let is_nft = |table: &Table| table.backend == Backend::Nft && !table.changes_by_itself();
        self.ruleset.ipsets.is_empty() && tables.all(is_nft)
    }

    /// Whether the rules are still these: only those of nf_tables have a number for that, which stays
    /// the same when packets fill a set, and when an element's time is over.
    fn holds_at(&self, generation: impl FnOnce() -> Option<u32>) -> bool {
        self.ended.duration_since(self.begun) >= SLOW
            && self.ended.elapsed() < HOLDS
            && self.is_numbered()
            && self.generation.is_some()
            && generation() == self.generation
    }
}

/// Reads on a separate thread, in the same namespace. Returns whether it runs.
fn start(inside: Inside, packet: HookPacket, key: Key, hooks: u64) -> bool {
    let inside = Inside {
        deadline: Instant::now() + READS_FOR,
        ..inside
    };
    let read = move || {
        // Also if it panics, the next one may read.
        let _done = Done(key);
        be_nice();
        let (begun, before) = (Instant::now(), generation());
        let ruleset = Arc::new(Ruleset::read_for(&inside, &packet));
        let reading = Reading {
            ruleset,
            begun,
            ended: Instant::now(),
            generation: before.filter(|before| generation() == Some(*before)),
        };
        let mut states = lock();
        states
            .entry(key)
            .or_default()
            .readings
            .insert(hooks, reading);
    };
    let thread = thread::Builder::new().name("ruleset".to_owned());
    thread.spawn(read).is_ok()
}

/// The reader has ended.
struct Done(Key);

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(state) = lock().get_mut(&self.0) {
            state.is_reading = false;
        }
        READ.notify_all();
    }
}

fn lock() -> MutexGuard<'static, HashMap<Key, State>> {
    STATES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Large rulesets take much memory.
fn forget_old(states: &mut HashMap<Key, State>) {
    for state in states.values_mut() {
        state
            .readings
            .retain(|_, reading| reading.ended.elapsed() < HOLDS);
    }
    states.retain(|_, state| state.is_reading || !state.readings.is_empty());
}

/// What nf_tables calls its rules in the namespace that this thread is in.
pub(crate) fn generation() -> Option<u32> {
    Subsystem::NfTables.is_in_kernel().then_some(())?;
    nft_generation().ok().flatten()
}

/// When it was dropped, by the clock that only goes forward; now, if the other one was set back.
fn instant(at: SystemTime) -> Instant {
    let now = Instant::now();
    let ago = SystemTime::now().duration_since(at).unwrap_or_default();
    now.checked_sub(ago).unwrap_or(now)
}

/// The chains that [`Ruleset::read_for`] looks at for a packet, a bit each.
fn hooks(packet: &HookPacket) -> u64 {
    const FAMILIES: [Family; 5] = [
        Family::Ip,
        Family::Ip6,
        Family::Inet,
        Family::Bridge,
        Family::Netdev,
    ];
    const HOOKS: [&str; 7] = [
        "prerouting",
        "input",
        "forward",
        "output",
        "postrouting",
        "ingress",
        "egress",
    ];
    let is_wanted = Ruleset::is_wanted(packet);
    let chains = FAMILIES
        .into_iter()
        .flat_map(|family| HOOKS.map(|hook| (family, hook)));
    chains
        .map(|(family, hook)| is_wanted(family, hook))
        .enumerate()
        .fold(0, |bits, (at, wanted)| bits | u64::from(wanted) << at)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        net::netns::{NetnsRef, in_netns},
        node::ruleset::{nft, packet::Ends},
    };

    const LIMIT: Duration = Duration::from_secs(20);

    fn read(dropped_at: SystemTime) -> Arc<Ruleset> {
        let ends = Ends {
            src: [192, 0, 2, 1].into(),
            dst: [192, 0, 2, 2].into(),
            sport: None,
            dport: None,
        };
        let work = move |inside: Inside| {
            let packet = HookPacket::new(ends, 6);
            let shared = Ruleset::shared_for(&inside, &packet, dropped_at, false);
            Ok(shared.expect("an answer in time").ruleset)
        };
        in_netns(&NetnsRef::Own, LIMIT, work).unwrap()
    }

    #[test]
    fn one_reading_is_for_all_drops_before_it_and_for_none_after_it() {
        let dropped_at = SystemTime::now();
        let threads: Vec<_> = (0..8)
            .map(|_| thread::spawn(move || read(dropped_at)))
            .collect();
        let threads = threads.into_iter();
        let all: Vec<_> = threads.map(|thread| thread.join().unwrap()).collect();
        assert!(all.iter().all(|one| Arc::ptr_eq(one, &all[0])));
        let later = read(SystemTime::now());
        assert!(!Arc::ptr_eq(&later, &all[0]));
    }

    /// A reading that took so long, of a table with these objects of nft.
    fn reading(took: Duration, generation: Option<u32>, objects: &Value) -> Reading {
        let now = Instant::now();
        let mut all = vec![json!({"table": {"family": "inet", "name": "t", "handle": 1}})];
        all.extend(objects.as_array().into_iter().flatten().cloned());
        let tables = nft::parse(&json!({ "nftables": all }).to_string()).unwrap();
        assert_eq!(tables.len(), 1);
        let ruleset = Ruleset {
            tables,
            ..Ruleset::default()
        };
        Reading {
            ruleset: Arc::new(ruleset),
            begun: now.checked_sub(took).unwrap_or(now),
            ended: now,
            generation,
        }
    }

    #[test]
    fn an_earlier_reading_holds_only_if_it_was_slow_and_its_generation_is_known() {
        let now = Instant::now();
        let slow = |generation| reading(2 * SLOW, generation, &json!([]));
        assert!(slow(Some(7)).holds_at(|| Some(7)));
        assert!(!slow(Some(7)).holds_at(|| Some(8)));
        assert!(!slow(Some(7)).holds_at(|| None));
        assert!(!slow(None).holds_at(|| None));
        let quick = reading(SLOW / 2, Some(7), &json!([]));
        assert!(!quick.holds_at(|| Some(7)));
        assert!(quick.for_drop(quick.begun, false).is_some());
        assert!(quick.for_drop(now + SLOW, true).is_none());
    }

    #[test]
    fn only_what_nf_tables_numbers_has_a_generation() {
        let numbered = reading(SLOW / 2, Some(7), &json!([]));
        let shared = numbered.for_drop(numbered.begun, false).expect("in time");
        assert_eq!(shared.generation, Some(7));
        let mut ruleset = Ruleset::clone(&numbered.ruleset);
        ruleset.tables[0].backend = Backend::Legacy;
        let legacy = Reading {
            ruleset: Arc::new(ruleset),
            ..numbered
        };
        let shared = legacy.for_drop(legacy.begun, false).expect("in time");
        assert_eq!(shared.generation, None);
    }

    #[test]
    fn an_earlier_reading_does_not_hold_if_sets_change_without_a_new_generation() {
        let holds = |set: Value, rule: Value| {
            let mut set = set;
            set["family"] = json!("inet");
            set["table"] = json!("t");
            set["name"] = json!("s");
            let rule = json!({"family": "inet", "table": "t", "chain": "c", "handle": 3,
                              "expr": [rule, {"drop": null}]});
            let chain = json!({"family": "inet", "table": "t", "name": "c", "handle": 2,
                               "type": "filter", "hook": "input", "prio": 0, "policy": "accept"});
            let objects = json!([{"set": set}, {"chain": chain}, {"rule": rule}]);
            reading(2 * SLOW, Some(7), &objects).holds_at(|| Some(7))
        };
        let source = json!({"payload": {"protocol": "ip", "field": "saddr"}});
        let looks_up = json!({"match": {"op": "==", "left": source, "right": "@s"}});
        let fills = |op| json!({"set": {"op": op, "elem": source, "set": "@s"}});
        let lasting = json!({"type": "ipv4_addr", "elem": ["192.0.2.1"]});
        let expiring = json!({"type": "ipv4_addr", "flags": ["timeout"],
                              "elem": [{"elem": {"val": "192.0.2.1", "timeout": 60, "expires": 50}}]});
        assert!(holds(lasting.clone(), looks_up.clone()));
        assert!(!holds(expiring, looks_up));
        for op in ["add", "update", "delete"] {
            assert!(!holds(lasting.clone(), fills(op)), "{op}");
        }
    }
}
