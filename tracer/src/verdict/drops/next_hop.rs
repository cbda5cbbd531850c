//! The next hop that a packet waited for.
//!
//! The kernel's answer about a route with several next hops names the one that another packet would
//! take: what spreads packets over them (their ports, say) is not all in the question. The interface
//! that the packet waited at is.

use std::net::IpAddr;

use super::{Finding, place};
use crate::{
    decode::drop::DropFacts,
    model::{Confidence::Possible, Point},
    net::{NeighborState, Route},
    node::facts::NodeFacts,
};

/// What the routes say of it.
pub(super) enum NextHop<'a> {
    /// Its address, and the route that has several of them.
    Known(IpAddr, Option<&'a Route>),
    /// The routes do not say, or it answers: a finding that accuses no host.
    Unproven(Box<Finding>),
}

/// The next hop by the interface that the packet waited at.
pub(super) fn of<'a>(facts: &DropFacts, node: &'a NodeFacts) -> NextHop<'a> {
    let lookup = node.around.route.as_ref();
    let Some((lookup, answer)) =
        lookup.and_then(|found| Some((found, found.answer.as_ref().ok()?)))
    else {
        return NextHop::Known(facts.flow.dst, None);
    };
    let at = facts.key.ifindex;
    let is_here = |output: u32| at == 0 || output == at;
    let spread = lookup
        .matched
        .as_ref()
        .filter(|route| !route.hops.is_empty());
    let gateways: Vec<_> = match spread {
        Some(route) => {
            let here = route.hops.iter().filter(|(output, _)| is_here(*output));
            here.map(|(_, gateway)| *gateway).collect()
        }
        None => {
            let here = answer.output.is_none_or(is_here);
            here.then_some(answer.gateway).into_iter().collect()
        }
    };
    let hops: Vec<_> = gateways
        .into_iter()
        .map(|gateway| gateway.unwrap_or(facts.flow.dst))
        .collect();
    let silent = silent(&hops, |hop| state(facts, node, hop));
    let why = match (hops.as_slice(), silent.as_slice()) {
        ([], _) => format!(
            "a next hop{} did not answer (ARP or ND); {} has another route now: {lookup}",
            place(facts),
            facts.flow.dst
        ),
        ([hop], []) if let Some(state) = state(facts, node, *hop) => format!(
            "{hop} did not answer in time (ARP or ND){}; its neighbor entry is {state} now",
            place(facts)
        ),
        ([hop], _) | (_, [hop]) => return NextHop::Known(*hop, spread),
        (several, _) => {
            let all: Vec<_> = several.iter().map(ToString::to_string).collect();
            format!(
                "one of {} next hops did not answer (ARP or ND){}: {}",
                several.len(),
                place(facts),
                all.join(", ")
            )
        }
    };
    NextHop::Unproven(Box::new(
        Finding::new(Point::Unknown, Possible, why).about(&[&place(facts)]),
    ))
}

/// The next hops that can be the silent one. The kernel soon removes the entry of a neighbor that it
/// asked in vain, so one without an entry can be it, unless another was asked in vain by its entry.
fn silent(hops: &[IpAddr], state: impl Fn(IpAddr) -> Option<NeighborState>) -> Vec<IpAddr> {
    let of = |wanted: fn(Option<NeighborState>) -> bool| -> Vec<_> {
        let hops = hops.iter().copied();
        hops.filter(|hop| wanted(state(*hop))).collect()
    };
    let asked_in_vain = of(|state| state.is_some_and(|one| !one.is_usable()));
    match asked_in_vain.is_empty() {
        true => of(|state| state.is_none()),
        false => asked_in_vain,
    }
}

/// What is known of a neighbor at the interface that the packet waited at.
fn state(facts: &DropFacts, node: &NodeFacts, address: IpAddr) -> Option<NeighborState> {
    let at = facts.key.ifindex;
    let mut entries = node.around.neighbors.iter();
    let entry = entries.find(|entry| entry.address == address && (at == 0 || entry.ifindex == at));
    entry.map(|entry| entry.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOPS: [[u8; 4]; 3] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]];

    fn silent_of(states: [Option<NeighborState>; 3]) -> Vec<usize> {
        let hops = HOPS.map(IpAddr::from);
        let place = |address| hops.iter().position(|hop| *hop == address).unwrap();
        let found = silent(&hops, |address| states[place(address)]);
        found.into_iter().map(place).collect()
    }

    #[test]
    fn a_failed_entry_accuses_before_a_missing_one() {
        use NeighborState::{Failed, Reachable, Stale};
        assert_eq!(silent_of([Some(Reachable), Some(Failed), None]), [1]);
        assert_eq!(silent_of([Some(Reachable), Some(Stale), None]), [2]);
        assert_eq!(silent_of([Some(Reachable), None, None]), [1, 2]);
        assert!(silent_of([Some(Reachable); 3]).is_empty());
    }
}
