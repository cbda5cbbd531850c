//! Why a listener may not have answered a SYN that reached its namespace.
//!
//! A SYN that finds the accept queue or the SYN queue full is dropped without a kfree_skb. What can
//! be read before and after still shows it: the counters of the namespace, the listener's
//! own count of drops, and its queues.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;

use super::{
    counters::{Counters, name},
    listeners::{self, Listener, listeners_for},
    process::{self, Process},
    syn_queue::{self, Room, Settings, SynQueue},
};
use crate::net::netns::{Inside, NetnsRef, in_netns_async};

/// One reading of a network namespace: its counters and listeners. One serves for all attempts to
/// that namespace that begin later.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Inode number of the namespace.
    pub(crate) netns: u32,
    /// Cookie of the namespace, see [`Inside::cookie`].
    pub(crate) cookie: Option<u64>,
    /// The namespace's counters.
    pub(crate) counters: Counters,
    /// The namespace's TCP listeners.
    pub(crate) listeners: Vec<Listener>,
}

impl Reading {
    /// Reads the namespace this thread is in.
    ///
    /// # Errors
    ///
    /// The counters or the listeners cannot be read.
    pub(crate) fn take(inside: Inside) -> Result<Self> {
        Ok(Self {
            netns: inside.inode,
            cookie: inside.cookie,
            counters: Counters::read()?,
            listeners: listeners::read()?,
        })
    }

    /// Reads a namespace within the limit.
    ///
    /// # Errors
    ///
    /// As of [`in_netns_async`] and [`Reading::take`].
    pub(crate) async fn of(netns: &NetnsRef, limit: Duration) -> Result<Self> {
        in_netns_async(netns, limit, Self::take).await
    }

    /// The counters that moved between an earlier reading and this one; `None` if the earlier one
    /// is of another namespace.
    fn moved_since(&self, earlier: &Self) -> Option<BTreeMap<String, u64>> {
        let other = match (self.cookie, earlier.cookie) {
            (Some(now), Some(then)) => now != then,
            _ => self.netns != earlier.netns,
        };
        if other {
            return None;
        }
        self.counters.since(&earlier.counters)
    }

    /// How many drops this listener has counted since the earlier reading; all it ever counted if
    /// it is younger than that.
    fn new_drops(listener: &Listener, earlier: &Self) -> Option<u32> {
        let then = earlier
            .listeners
            .iter()
            .find(|one| one.cookie == listener.cookie);
        let drops = listener.drops?;
        match then {
            Some(then) => Some(drops.wrapping_sub(then.drops?)),
            None => Some(drops),
        }
    }
}

/// A listener and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenerState {
    /// The listener.
    pub(crate) listener: Listener,
    /// The process that has it; `None` if it was not found in time.
    pub(crate) process: Option<Process>,
    /// Packets dropped at this very listener since the earlier reading, see [`Listener::drops`] for
    /// what that includes; `None` without an earlier reading.
    pub(crate) new_drops: Option<u32>,
}

/// What there is to say about a SYN that reached the listener's namespace and got no answer.
#[derive(Clone, Debug)]
pub(crate) struct ListenerFacts {
    /// The address the SYN was sent to, as seen inside the namespace.
    pub(crate) destination: SocketAddr,
    /// The listeners the SYN may have gone to; none: nothing listens there.
    pub(crate) listeners: Vec<ListenerState>,
    /// Their handshakes that wait for the last ACK.
    pub(crate) syn_queue: SynQueue,
    /// What bounds their queues.
    pub(crate) settings: Settings,
    /// All counters, as of now.
    pub(crate) counters: Counters,
    /// The counters that moved since the earlier reading, by how much; `None` without an earlier
    /// reading of this very namespace.
    pub(crate) moved: Option<BTreeMap<String, u64>>,
}

impl ListenerFacts {
    /// Reads a namespace within the limit. The address is that seen inside the namespace, after NAT.
    ///
    /// # Errors
    ///
    /// As of [`in_netns_async`] and [`ListenerFacts::read`].
    pub(crate) async fn of(
        netns: &NetnsRef,
        destination: SocketAddr,
        before: Option<Arc<Reading>>,
        limit: Duration,
    ) -> Result<Self> {
        in_netns_async(netns, limit, move |inside| {
            Self::read(inside, destination, before.as_deref())
        })
        .await
    }

    /// Reads the namespace this thread is in, and compares it with a reading taken before the SYN, or
    /// before one of its retransmissions.
    ///
    /// # Errors
    ///
    /// The counters, the sockets or the settings cannot be read.
    pub(crate) fn read(
        inside: Inside,
        destination: SocketAddr,
        before: Option<&Reading>,
    ) -> Result<Self> {
        let pending = syn_queue::pending(destination.port())?;
        let settings = Settings::read()?;
        let now = Reading::take(inside)?;
        let syn_queue = SynQueue::of(&pending, &now.listeners, destination);
        let mut facts = Self::compare(destination, before, now, syn_queue, settings);
        facts.name_processes(inside);
        Ok(facts)
    }

    fn compare(
        destination: SocketAddr,
        before: Option<&Reading>,
        now: Reading,
        syn_queue: SynQueue,
        settings: Settings,
    ) -> Self {
        let moved = before.and_then(|before| now.moved_since(before));
        let before = before.filter(|_| moved.is_some());
        let listeners = listeners_for(&now.listeners, destination);
        Self {
            destination,
            listeners: listeners
                .into_iter()
                .map(|listener| ListenerState {
                    listener: listener.clone(),
                    process: None,
                    new_drops: before.and_then(|before| Reading::new_drops(listener, before)),
                })
                .collect(),
            syn_queue,
            settings,
            moved,
            counters: now.counters,
        }
    }

    /// Names the processes, in half of the time left: what has been read is worth more.
    fn name_processes(&mut self, inside: Inside) {
        let sockets = self.listeners.iter().map(|one| one.listener.inode);
        let mut found = process::of_sockets(&sockets.collect(), inside.inode, inside.half_time());
        for one in &mut self.listeners {
            one.process = found.remove(&one.listener.inode);
        }
    }

    /// By how much a counter moved; `None` if that is unknown.
    pub(crate) fn moved(&self, name: &str) -> Option<u64> {
        let moved = self.moved.as_ref()?;
        self.counters.get(name)?;
        Some(moved.get(name).copied().unwrap_or(0))
    }

    /// A listener whose accept queue is full right now.
    pub(crate) fn accept_queue_full(&self) -> Option<&ListenerState> {
        self.listeners.iter().find(|one| one.listener.is_full())
    }

    /// Whether a listener of this destination has dropped a SYN or a last ACK since the earlier
    /// reading, as both the namespace and the listener have counted. With several listeners in the
    /// namespace this is not certain: one may have dropped a SYN, and this one have seen a SYN
    /// twice, which counts as its drop too.
    pub(crate) fn dropped(&self) -> Option<bool> {
        let in_namespace = self.moved(name::LISTEN_DROPS)? > 0;
        let here = |one: &ListenerState| one.new_drops.is_none_or(|drops| drops > 0);
        Some(in_namespace && self.listeners.iter().any(here))
    }

    /// What becomes of one more SYN, as far as the SYN queue is concerned; `None` without a
    /// listener. Where several share a port, all of them together are taken as one queue.
    pub(crate) fn syn_queue_room(&self) -> Option<Room> {
        let backlogs = self.listeners.iter().map(|one| one.listener.backlog);
        let backlog = backlogs.reduce(u32::saturating_add)?;
        Some(self.settings.room(backlog, self.syn_queue.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::listeners::tests::listener;

    fn reading(cookie: u64, drops: u32) -> Reading {
        Reading {
            netns: 4_026_532_000,
            cookie: Some(cookie),
            counters: Counters::default(),
            listeners: vec![Listener {
                drops: Some(drops),
                accept_queue: 5,
                ..listener("10.0.0.1:80")
            }],
        }
    }

    fn facts(before: Option<&Reading>, now: Reading) -> ListenerFacts {
        let destination = "10.0.0.1:80".parse().unwrap();
        let settings = Settings::default();
        ListenerFacts::compare(destination, before, now, SynQueue::default(), settings)
    }

    #[test]
    fn counts_the_drops_of_the_very_listener() {
        let facts = facts(Some(&reading(7, 3)), reading(7, 5));
        assert_eq!(facts.listeners[0].new_drops, Some(2));
        assert!(facts.accept_queue_full().is_some());
    }

    #[test]
    fn without_an_earlier_reading_nothing_is_said_of_change() {
        for before in [None, Some(&reading(8, 3))] {
            let facts = facts(before, reading(7, 5));
            assert_eq!(facts.listeners[0].new_drops, None);
            assert_eq!(facts.moved(name::LISTEN_OVERFLOWS), None);
        }
    }

    #[test]
    fn no_listener() {
        let mut now = reading(7, 0);
        now.listeners.clear();
        let facts = facts(None, now);
        assert!(facts.listeners.is_empty());
        assert_eq!(facts.syn_queue_room(), None);
    }
}
