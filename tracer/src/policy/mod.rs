//! What the NetworkPolicies make of a flow, as their API defines it.
//!
//! A pod is isolated for a direction if a policy of its namespace selects it and is about that
//! direction. A flow passes if on each isolated side some rule of those policies admits it;
//! policies only ever add. Where the API leaves it to the implementation, or the objects that
//! decide are not known, the answer is "undecidable", with the reason.

mod element;
mod manifest;
mod matching;
mod peer;
mod ports;
mod refusal;
mod side;
pub(crate) mod traps;

pub(crate) use self::{
    manifest::manifests,
    peer::{Party, Peer},
    refusal::{Refusal, near_misses},
    side::{Outcome, Side},
};
pub(crate) use crate::cluster::policy::{Direction, Protocol};
use crate::cluster::{policy::Policy, view::View};

/// A connection to be judged.
#[derive(Debug, Clone)]
pub(crate) struct Flow<'v> {
    /// Who opens it.
    pub(crate) src: Peer<'v>,
    /// Who is to answer, after DNAT.
    pub(crate) dst: Peer<'v>,
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The destination port, after DNAT; `None` for any, and for ICMP.
    pub(crate) port: Option<u16>,
}

/// What the policies make of a flow.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Whether it passes; `None` if undecidable.
    pub(crate) allowed: Option<bool>,
    /// The source's side.
    pub(crate) egress: Side,
    /// The destination's side.
    pub(crate) ingress: Side,
}

/// Judges a flow.
#[must_use]
pub(crate) fn evaluate(view: &View, flow: &Flow<'_>) -> Answer {
    evaluate_with(view, flow, &[])
}

/// Judges one side of a flow.
#[must_use]
pub(crate) fn judge(view: &View, flow: &Flow<'_>, direction: Direction) -> Side {
    side::judge(view, flow, direction, &[])
}

/// Judges a flow as if there were some more policies.
fn evaluate_with(view: &View, flow: &Flow<'_>, more: &[&Policy]) -> Answer {
    let egress = side::judge(view, flow, Direction::Egress, more);
    let ingress = side::judge(view, flow, Direction::Ingress, more);
    Answer::of(egress, ingress)
}

impl Answer {
    /// From what is made of either side.
    #[must_use]
    pub(crate) fn of(egress: Side, ingress: Side) -> Self {
        let allowed = match (egress.allowed(), ingress.allowed()) {
            // One refusal decides, whatever is unknown on the other side.
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
        Self {
            allowed,
            egress,
            ingress,
        }
    }
}

#[cfg(test)]
pub(crate) use self::side::MISSES;

#[cfg(test)]
mod tests;
