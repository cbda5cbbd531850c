//! A walk through the node as it is now: what the engine asks for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Live, Packet, Start, Way};
use crate::node::world::{Part, World};

/// The ways of a packet, and the node that it was walked through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walked {
    /// The node.
    pub(crate) world: Arc<World>,
    /// The ways: several where a rule chooses among several translations. None where there was no
    /// time.
    pub(crate) ways: Vec<Way>,
}

impl Walked {
    /// Walks a packet, within the limit.
    pub(crate) async fn of(start: Start, packet: Packet, limit: Duration) -> Self {
        let deadline = Instant::now() + limit;
        let world = World::recent_async(Part::all(), limit).await;
        let walk = {
            let world = Arc::clone(&world);
            move || {
                let live = Live::new(&world, deadline);
                Way::all_of(&world, &live, start, &packet)
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let ways = tokio::time::timeout(left, tokio::task::spawn_blocking(walk)).await;
        Self {
            world,
            ways: ways.ok().and_then(Result::ok).unwrap_or_default(),
        }
    }
}
