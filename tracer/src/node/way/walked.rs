//! A walk through the node as it is now: what the engine asks for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Counted, End, Kernel, Live, Packet, Start, Way};
use crate::{
    model::{Flow, Protocol},
    node::world::{Part, World},
};

/// The ways of a packet, and the node that it was walked through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walked {
    /// The node.
    pub(crate) world: Arc<World>,
    /// The ways: several where a rule chooses among several translations. None where there was no
    /// time.
    pub(crate) ways: Vec<Way>,
    /// The way of the first answer, if there is only one way and it delivers the packet.
    pub(crate) way_back: Option<Way>,
    /// How often packets have ended where this one ends.
    pub(crate) counted: Option<Counted>,
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
                let ways = Way::all_of(&world, &live, start, &packet);
                let way_back = way_back(&world, &live, &ways, packet.flow);
                let left = deadline.saturating_duration_since(Instant::now());
                let counted = Counted::read(&world, &ways, packet.flow.dst.is_ipv4(), left);
                (ways, way_back, counted)
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let ways = tokio::time::timeout(left, tokio::task::spawn_blocking(walk)).await;
        let (ways, way_back, counted) = ways.ok().and_then(Result::ok).unwrap_or_default();
        Self {
            world,
            ways,
            way_back,
            counted,
        }
    }
}

/// The way of the first answer; `None` if the packet has several ways, or is not delivered, or the
/// answer has several ways: which of them it takes is not known.
pub(super) fn way_back(
    world: &World,
    kernel: &dyn Kernel,
    ways: &[Way],
    sent: Flow,
) -> Option<Way> {
    let [way] = ways else { return None };
    let (netns, delivered) = way.delivered(sent)?;
    if !matches!(delivered.proto, Protocol::Tcp | Protocol::Udp) {
        return None;
    }
    let answer = Packet::answer_to(delivered, mark_of_answer(world, way, delivered.proto));
    let mut back = Way::all_of(world, kernel, Start::Sent(netns), &answer);
    (back.len() == 1).then(|| back.swap_remove(0))
}

/// The mark of the first answer: none, or for TCP, where that is set, the question's; `None` if it is
/// not known.
fn mark_of_answer(world: &World, way: &Way, proto: Protocol) -> Option<u32> {
    let End::Delivered { netns, mark, .. } = way.end else {
        return None;
    };
    let settings = world.namespace(netns).and_then(|one| one.settings);
    let takes_it = settings.and_then(|settings| settings.tcp_fwmark_accept);
    match takes_it {
        _ if proto != Protocol::Tcp || mark == Some(0) => Some(0),
        Some(0) => Some(0),
        Some(_) => mark,
        None => None,
    }
}
