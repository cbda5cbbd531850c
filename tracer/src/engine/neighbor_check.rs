//! The question whether a SYN waits for a neighbour that does not answer.

use std::net::IpAddr;

use super::{
    in_flight::{Answer, Facts, Fates, is_local},
    listener_check::AFTER_TIMEOUT,
    session::{FACTS_LIMIT, Session},
};
use crate::{
    decode::sighting::Key,
    model::{Direction, Outcome},
    net::{Inventory, RouteKey, netns::NetnsRef},
    node::silent_hop::SilentHop,
};

impl Fates {
    /// A packet that came in and was not seen to leave: its namespace, and how it would go on.
    fn waiting(&self, key: &Key, inventory: &Inventory) -> Option<(NetnsRef, RouteKey)> {
        let attempt = self.table.get(key)?;
        let last = attempt.last_hop()?;
        let destination = IpAddr::from(last.flow.dst);
        let is_silent =
            attempt.reply.is_none() && attempt.deciding_drop(Outcome::Unanswered).is_none();
        let waits =
            last.place.dir == Direction::In && !is_local(inventory, last.place.netns, destination);
        (is_silent && waits).then(|| {
            let packet = RouteKey {
                src: Some(last.flow.src.into()),
                iif: Some(last.place.ifindex),
                proto: Some(last.flow.proto),
                ..RouteKey::to(destination)
            };
            (NetnsRef::Inode(last.place.netns), packet)
        })
    }
}

impl Session<'_> {
    /// Asks for the packet's next hop. `false` if the packet does not look as if it waited for one.
    pub(crate) fn ask_hop(&mut self, key: &Key, inventory: &Inventory) -> bool {
        let Some((netns, packet)) = self.fates.waiting(key, inventory) else {
            return false;
        };
        let key = key.clone();
        self.fates.questions.spawn(async move {
            tokio::time::sleep(AFTER_TIMEOUT).await;
            let hop = SilentHop::of(&netns, packet, FACTS_LIMIT).await;
            let facts = Facts {
                silent_hop: hop.ok().flatten(),
                ..Facts::default()
            };
            Answer::Facts(key, Box::new(facts))
        });
        true
    }
}
