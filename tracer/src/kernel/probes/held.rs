//! Handshakes that the kernel programs hold until they fail: reading those that are not over soon, and
//! those that something has happened to.

use anyhow::Result;
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData},
};
use bytes::Bytes;
use tracer_common::event::{
    HELD_PLACES, Handshake, Held, HeldLog, held_place, held_state as state,
};

use super::load::take_map;

/// The kernel's side of it, and what was read.
pub(super) struct HeldHandshakes {
    states: Array<MapData, [Held; HELD_PLACES]>,
    logs: Array<MapData, HeldLog>,
    taken: Array<MapData, u64>,
    /// What the kernel programs follow by sending each packet at once.
    followed: HashMap<MapData, u64, Handshake>,
    /// How many places there are.
    places: u32,
    /// The key that was taken last from each place.
    keys: Vec<u64>,
    /// What was taken at the last look, and how many events of each: the kernel programs may have added
    /// one in that very moment.
    recent: Vec<(u64, usize)>,
    /// How many were held at the last look.
    seen: u64,
    /// Whether some of these are not over.
    are_open: bool,
    /// Those that the kernel programs count as answered, and that are no attempts of userspace's own.
    taken_back: u64,
}

impl HeldHandshakes {
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self> {
        let logs: Array<MapData, HeldLog> = Array::try_from(take_map(ebpf, "HELD_LOGS")?)?;
        Ok(Self {
            places: logs.len(),
            logs,
            states: Array::try_from(take_map(ebpf, "HELD")?)?,
            taken: Array::try_from(take_map(ebpf, "HELD_TAKEN")?)?,
            followed: HashMap::try_from(take_map(ebpf, "HANDSHAKES")?)?,
            keys: vec![0; HELD_PLACES],
            recent: Vec::new(),
            seen: 0,
            are_open: false,
            taken_back: 0,
        })
    }

    /// Takes a handshake that was released: its events, oldest first. None if it was taken already.
    pub(super) fn take(&mut self, key: u64) -> Vec<Bytes> {
        let place = held_place(key, self.places);
        if self.keys[place] == key {
            return Vec::new();
        }
        // From here on, its packets come by themselves. The kernel programs may be first with this.
        let _ = self.followed.insert(key, Handshake::default(), 1);
        let Ok(index) = u32::try_from(place) else {
            return Vec::new();
        };
        if self.taken.set(index, key, 0).is_err() {
            return Vec::new();
        }
        self.keys[place] = key;
        let Some(log) = self.log(key) else {
            return Vec::new();
        };
        self.taken_back += u64::from(log.was_settled != 0);
        let events: Vec<_> = log.events().map(Bytes::copy_from_slice).collect();
        self.recent.push((key, events.len()));
        events
    }

    /// Takes all handshakes that began no later than `until`, nanoseconds of `CLOCK_MONOTONIC`, and are
    /// not over. `held` is the number that were ever held.
    pub(super) fn take_overdue(&mut self, held: u64, until: u64) -> Vec<Vec<Bytes>> {
        let mut all = self.take_late();
        let are_new = std::mem::replace(&mut self.seen, held) != held;
        if !are_new && !self.are_open {
            return all;
        }
        let Ok(states) = self.states.get(&0, 0) else {
            return all;
        };
        self.are_open = false;
        let open = states.iter().zip(&self.keys).filter(|(held, taken)| {
            let is_open = matches!(held.state, state::OPEN | state::RELEASED);
            is_open && held.key != **taken
        });
        let mut overdue = Vec::new();
        for (held, _) in open {
            if held.since <= until {
                overdue.push((held.since, held.key));
            } else {
                self.are_open = true;
            }
        }
        overdue.sort_unstable();
        all.extend(overdue.into_iter().map(|(_, key)| self.take(key)));
        all
    }

    /// How many handshakes were answered and are known by their number only, of those that the kernel
    /// programs count.
    pub(super) fn answered(&self, counted: u64) -> u64 {
        counted.saturating_sub(self.taken_back)
    }

    fn take_late(&mut self) -> Vec<Vec<Bytes>> {
        let recent = std::mem::take(&mut self.recent);
        let late = recent.into_iter().filter_map(|(key, taken)| {
            let log = self.log(key)?;
            let events = log.events().skip(taken);
            Some(events.map(Bytes::copy_from_slice).collect())
        });
        late.filter(|events: &Vec<_>| !events.is_empty()).collect()
    }

    fn log(&self, key: u64) -> Option<HeldLog> {
        let index = u32::try_from(held_place(key, self.places)).ok()?;
        let log = self.logs.get(&index, 0).ok()?;
        (log.key == key).then_some(log)
    }
}
