//! The way of a packet through the node: what this kernel does with it, step by step, from the place
//! where it was last seen to its end.
//!
//! The walk is pure. It reads the [`World`], and asks a [`Kernel`] for what only the kernel can
//! answer: the route of a packet, and what the netfilter rules at a hook make of it. Where an answer
//! is missing, the walk ends [undecided](End::Undecided): it never guesses.
//!
//! - [`Packet`], [`Start`]: what is walked, and from where
//! - [`Kernel`]: the questions to the kernel
//! - [`Step`], [`End`], [`Because`]: the steps, the end and its cause, and sentences for them
//! - `walk`: the walk itself; [`Walked`]: one through the node as it is now

mod counted;
mod end;
mod hook;
mod kernel;
mod live;
mod packet;
mod sentence;
mod step;
#[cfg(test)]
mod tests;
mod walk;
mod walked;

use std::net::IpAddr;

use self::walk::Walk;
use super::world::{LinkId, World};
use crate::model::Flow;

#[cfg(test)]
pub(crate) use self::counted::Others;
pub(crate) use self::{
    counted::{Comparison, Counted},
    end::{Because, End, Refused, Unanswered},
    kernel::{AtHook, DroppedBy, Judgment, Kernel},
    live::Live,
    packet::Packet,
    step::{Act, Step},
    walked::Walked,
};

/// Where the walk begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// A process in this namespace sends the packet.
    Sent(u32),
    /// The packet came in through this link, with a MAC address that the link takes.
    In(LinkId),
}

/// The way of a packet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Way {
    /// What happens to it, in order.
    pub(crate) steps: Vec<Step>,
    /// Where it ends.
    pub(crate) end: End,
}

/// More ways than these are not walked where rules choose among several.
const MOST_WAYS: usize = 64;

impl Way {
    /// The next hop that does not answer, where it ends for that.
    pub(crate) fn waits_for(&self) -> Option<IpAddr> {
        match &self.end {
            End::Dropped {
                because: Because::Unanswered(unanswered),
                ..
            } => Some(unanswered.hop),
            _ => None,
        }
    }

    /// Where the packet is delivered, and as what; `None` where it is not.
    pub(crate) fn delivered(&self, sent: Flow) -> Option<(u32, Flow)> {
        let End::Delivered { netns, .. } = self.end else {
            return None;
        };
        let translated = self.steps.iter().rev().find_map(|step| match step.act {
            Act::Translated(_, flow) | Act::KeptByEntry(_, flow, _) => Some(flow),
            _ => None,
        });
        Some((netns, translated.unwrap_or(sent)))
    }

    /// Walks a packet. Where a rule chooses among several translations, as one that balances does,
    /// there is a way for each.
    pub(crate) fn all_of(
        world: &World,
        kernel: &dyn Kernel,
        start: Start,
        packet: &Packet,
    ) -> Vec<Self> {
        let mut ways = Vec::new();
        let mut next = Some(Vec::new());
        while let Some(choices) = next.filter(|_| ways.len() < MOST_WAYS) {
            let mut walk = Walk::new(world, kernel, packet.clone(), choices);
            ways.push(walk.run(start));
            next = walk.next_choices();
        }
        ways
    }
}
