//! Questions about a listener that may have been silent: where its namespace is, and what is read
//! there before and after the timeout.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    in_flight::{Answer, Facts, Fates, is_local},
    session::{FACTS_LIMIT, Session},
};
use crate::{
    decode::sighting::Key,
    model::{Direction, Outcome},
    net::{Interface, Inventory, netns::NetnsRef},
    node::{
        listener::{Before, ListenerFacts, Reading},
        owner,
    },
};

/// Questions to the node that may be open at once; further attempts are judged without.
const MAX_QUESTIONS: usize = 16;
/// How long after the timeout the listener is looked at: the first retransmission comes a second
/// after the SYN, and the default timeout is a second too.
pub(crate) const AFTER_TIMEOUT: Duration = Duration::from_millis(150);

/// A listener's namespace and address.
struct Whereabouts {
    netns: Netns,
    destination: SocketAddr,
}

enum Netns {
    Known(NetnsRef),
    /// The one that has the address behind the veth whose other end has this index.
    Behind(Option<u32>),
}

impl Whereabouts {
    /// Finds the namespace, off the event path.
    async fn find(&self) -> Option<NetnsRef> {
        match &self.netns {
            Netns::Known(netns) => Some(netns.clone()),
            Netns::Behind(peer) => {
                let (address, peer) = (self.destination.ip(), *peer);
                let search = move || owner::of_address(address, peer, FACTS_LIMIT);
                tokio::task::spawn_blocking(search).await.ok()?.ok()?
            }
        }
    }
}

impl Fates {
    /// Where a listener may have been silent: the namespace that has the SYN's destination. `None`
    /// where no such namespace is near.
    fn silent_listener(&self, key: &Key, inventory: &Inventory) -> Option<Whereabouts> {
        let attempt = self.table.get(key)?;
        if !matches!(key, Key::Tcp(_)) || attempt.reply.is_some() {
            return None;
        }
        if attempt.deciding_drop(Outcome::Unanswered).is_some() {
            return None;
        }
        let last = attempt.last_hop()?;
        let destination = IpAddr::from(last.flow.dst);
        let netns = if is_local(inventory, last.place.netns, destination) {
            Netns::Known(NetnsRef::Inode(last.place.netns))
        } else {
            let interface = inventory.get(last.place.netns, last.place.ifindex)?;
            if last.place.dir == Direction::In || interface.is_uplink {
                return None;
            }
            Netns::Behind(behind(interface))
        };
        Some(Whereabouts {
            netns,
            destination: SocketAddr::new(destination, last.flow.dport),
        })
    }
}

/// The index of the other end of a veth; `None` for interfaces that are none, such as a bridge.
fn behind(interface: &Interface) -> Option<u32> {
    interface.link.peer().map(|peer| peer.ifindex)
}

impl Session<'_> {
    /// A reading of the listener's namespace, to compare with after the timeout.
    pub(crate) fn ask_before(&mut self, key: Key, inventory: &Inventory) {
        if self.fates.questions.len() >= MAX_QUESTIONS {
            return;
        }
        let Some(whereabouts) = self.fates.silent_listener(&key, inventory) else {
            return;
        };
        self.fates.questions.spawn(async move {
            let Some(netns) = whereabouts.find().await else {
                return Answer::Before(key, None);
            };
            let reading = Reading::of(&netns, FACTS_LIMIT).await.ok().map(Arc::new);
            Answer::Before(key, Some((netns, reading)))
        });
    }

    /// The facts for the verdict. `false` if there is nothing to ask.
    pub(crate) fn ask_facts(&mut self, key: &Key, inventory: &Inventory) -> bool {
        let before = self.fates.before.remove(key);
        if self.fates.questions.len() >= MAX_QUESTIONS {
            return false;
        }
        let Some(whereabouts) = self.fates.silent_listener(key, inventory) else {
            return self.ask_hop(key, inventory);
        };
        let key = key.clone();
        self.fates.questions.spawn(async move {
            tokio::time::sleep(AFTER_TIMEOUT).await;
            let (netns, reading) = match before {
                Some((netns, reading)) => (Some(netns), reading),
                None => (whereabouts.find().await, None),
            };
            let before = reading.map_or(Before::Nothing, Before::Reading);
            let facts = match netns {
                Some(netns) => {
                    let to = whereabouts.destination;
                    ListenerFacts::of(&netns, to, None, before, FACTS_LIMIT)
                        .await
                        .ok()
                }
                None => None,
            };
            let facts = Facts {
                listener: facts,
                ..Facts::default()
            };
            Answer::Facts(key, Box::new(facts))
        });
        true
    }
}
