//! Readings are shared: who asks for what was read a moment ago gets that, and who asks while it is
//! being read waits for it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time};

use super::{Parts, World};

/// How long a reading holds. Drops that are judged together see the same node.
const HOLDS: Duration = Duration::from_millis(250);

static STATE: Mutex<State> = Mutex::new(State {
    last: None,
    is_reading: false,
});
static READ: Condvar = Condvar::new();

struct State {
    last: Option<(Instant, Parts, Arc<World>)>,
    is_reading: bool,
}

impl State {
    fn fresh(&self, parts: &Parts, now: Instant) -> Option<Arc<World>> {
        let (at, read, world) = self.last.as_ref()?;
        (now.saturating_duration_since(*at) < HOLDS && read.is_superset(parts))
            .then(|| Arc::clone(world))
    }
}

impl World {
    /// Like [`World::recent`], without holding up the other tasks of a runtime.
    pub(crate) async fn recent_async(parts: Parts, limit: Duration) -> Arc<Self> {
        let (sender, receiver) = oneshot::channel();
        let read = move || {
            let _ = sender.send(Self::recent(&parts, limit));
        };
        let thread = thread::Builder::new().name("node-model".to_owned());
        let started = thread.spawn(read).map_err(|error| error.to_string());
        let gap = match started {
            Ok(_) => match time::timeout(limit, receiver).await {
                Ok(Ok(world)) => return world,
                Ok(Err(_)) => "the thread that read the node panicked".to_owned(),
                Err(_) => too_long(limit),
            },
            Err(error) => format!("cannot start a thread: {error}"),
        };
        unread(gap)
    }

    /// Like [`World::read`], but a reading of a moment ago will do, if it has all that is wanted.
    pub(crate) fn recent(parts: &Parts, limit: Duration) -> Arc<Self> {
        let deadline = Instant::now() + limit;
        let mut state = lock();
        loop {
            if let Some(world) = state.fresh(parts, Instant::now()) {
                return world;
            }
            if !state.is_reading {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = READ.wait_timeout(state, left);
            let (waited, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = waited;
            if timeout.timed_out() {
                return unread(too_long(limit));
            }
        }
        state.is_reading = true;
        drop(state);
        let _reading = Reading;
        let left = deadline.saturating_duration_since(Instant::now());
        let world = Arc::new(Self::read(parts, left));
        lock().last = Some((Instant::now(), parts.clone(), Arc::clone(&world)));
        world
    }
}

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends however the reading ends, so that no one waits for one that panicked.
struct Reading;

impl Drop for Reading {
    fn drop(&mut self) {
        lock().is_reading = false;
        READ.notify_all();
    }
}

fn too_long(limit: Duration) -> String {
    format!("the node was not read within {} ms", limit.as_millis())
}

/// Nothing was read, for this reason.
fn unread(gap: String) -> Arc<World> {
    Arc::new(World {
        gaps: vec![gap],
        ..World::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::world::Part;

    #[test]
    fn a_reading_is_shared_for_a_moment() {
        let now = Instant::now();
        let state = State {
            last: Some((now, [Part::Rules].into(), Arc::default())),
            is_reading: false,
        };
        assert!(state.fresh(&Parts::new(), now).is_some());
        assert!(state.fresh(&[Part::Fdb].into(), now).is_none());
        assert!(state.fresh(&Parts::new(), now + HOLDS).is_none());
    }

    #[test]
    fn ones_own_namespace_is_in_it() {
        let world = World::recent(&Parts::new(), Duration::from_secs(10));
        let mut links = world.links();
        assert!(links.any(|link| link.name == "lo"), "{:?}", world.gaps);
    }
}
