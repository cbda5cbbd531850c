//! Who has the machine: scenarios run side by side, but for those that flood it. While a flood
//! passes, packets of other scenarios may be lost in a CPU's backlog, and whydrop may come late.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

/// Held by a scenario that has the machine to itself.
pub struct Alone(());

/// Held by every trace.
pub(crate) struct Shared(());

#[derive(Debug)]
struct Machine {
    traces: usize,
    alone: Option<ThreadId>,
}

static MACHINE: Mutex<Machine> = Mutex::new(Machine {
    traces: 0,
    alone: None,
});
static CHANGED: Condvar = Condvar::new();

/// Waits until no scenario has a trace, and keeps others from starting one. Only this thread may.
pub fn alone() -> Alone {
    let mut machine = machine_when(|machine| machine.traces == 0 && machine.alone.is_none());
    machine.alone = Some(thread::current().id());
    Alone(())
}

/// Waits until no other scenario has the machine to itself.
///
/// Not a read-write lock: that would keep the second trace of a scenario waiting behind a flood
/// that waits for its first.
pub(crate) fn share() -> Shared {
    let id = thread::current().id();
    let mut machine = machine_when(|machine| machine.alone.is_none_or(|alone| alone == id));
    machine.traces += 1;
    Shared(())
}

impl Drop for Alone {
    fn drop(&mut self) {
        machine().alone = None;
        CHANGED.notify_all();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        machine().traces -= 1;
        CHANGED.notify_all();
    }
}

fn machine() -> MutexGuard<'static, Machine> {
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn machine_when(ready: impl Fn(&Machine) -> bool) -> MutexGuard<'static, Machine> {
    CHANGED
        .wait_while(machine(), |machine| !ready(machine))
        .unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_flood_waits_for_traces_and_traces_for_a_flood() {
    let first = share();
    let flood = thread::spawn(|| {
        let alone = alone();
        // Its own traces do not wait for it.
        drop(share());
        assert_eq!(machine().traces, 0);
        drop(alone);
    });
    // Nor does a second trace of those that it waits for.
    drop(share());
    drop(first);
    let later = thread::spawn(|| drop(share()));
    for waiting in [flood, later] {
        waiting.join().expect("none waits for ever");
    }
}
