//! Whether a node would have seen a packet: only if its filter matches it there.
//!
//! A filter by a Service's address does not match, at the far node, what the first node has translated.
//! So silence of a node means something only if its filter is known to match the packet as it is on the
//! wire.

use std::{collections::HashSet, net::IpAddr};

use super::{Leg, trace::Trace};
use crate::{
    cli::{Proto, endpoint::Endpoint},
    model::{AttemptReport, Flow, Protocol, Scope, SocketAddress},
};

/// A trace's filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    /// `None` for any.
    proto: Option<Protocol>,
    to: Ends,
    from: Ends,
    /// Whether only the named network namespaces were watched.
    pub(super) is_of_namespaces: bool,
}

impl Filter {
    /// The filter as it was typed. `None` if it cannot be read.
    pub(super) fn of(scope: &Scope) -> Option<Self> {
        let end = |text: &Option<String>, is: &[String]| {
            let texts = if is.is_empty() { text.as_slice() } else { is };
            let ends: Result<Vec<Endpoint>, _> = texts.iter().map(|text| text.parse()).collect();
            ends.ok().map(Ends)
        };
        let proto = match scope.proto.as_str() {
            any if any == Proto::Any.name() => None,
            proto => Some(proto.parse().ok()?),
        };
        Some(Self {
            proto,
            to: end(&scope.to, &scope.to_is)?,
            from: end(&scope.from, &scope.from_is)?,
            is_of_namespaces: !scope.netns.is_empty(),
        })
    }

    /// Whether it matches this flow. `None` where an end is a name.
    fn matches(&self, flow: &Flow) -> Option<bool> {
        if self.proto.is_some_and(|proto| proto != flow.proto) {
            return Some(false);
        }
        let ways = [*flow, flow.reversed()].map(|flow| {
            both(
                self.to.have(flow.destination()),
                self.from.have(flow.source()),
            )
        });
        match ways {
            [Some(true), _] | [_, Some(true)] => Some(true),
            [Some(false), Some(false)] => Some(false),
            _ => None,
        }
    }
}

/// Whether the filter of a trace matches this flow. `None` where that cannot be known: an end of the
/// filter is a name, or the trace does not have its filter, and it shows no other attempt between the
/// same two addresses.
pub(super) fn matches(trace: &Trace, flow: &Flow) -> Option<bool> {
    let known = trace.filter.as_ref().and_then(|it| it.matches(flow));
    known.or_else(|| trace.shown.has(flow).then_some(true))
}

/// Between which two addresses the attempts of a trace were, at any hop, and to which port.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(HashSet<(Protocol, IpAddr, SocketAddress)>);

impl Shown {
    pub(super) fn add(&mut self, attempt: &AttemptReport) {
        let hops = attempt.hops.iter().map(|hop| Leg::There.flow(attempt, hop));
        self.0
            .extend(hops.chain([attempt.flow]).map(|flow| ends(&flow)));
    }

    /// Whether one was like this flow, or its answers.
    fn has(&self, flow: &Flow) -> bool {
        let ways = [*flow, flow.reversed()];
        ways.iter().any(|flow| self.0.contains(&ends(flow)))
    }
}

fn ends(flow: &Flow) -> (Protocol, IpAddr, SocketAddress) {
    (flow.proto, flow.src, flow.destination())
}

/// One end of a filter: any of these, or any at all if there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ends(Vec<Endpoint>);

impl Ends {
    /// Whether this is such an end. `None` where that cannot be known.
    fn have(&self, end: SocketAddress) -> Option<bool> {
        let mut is_known = true;
        for wanted in &self.0 {
            match is_end(wanted, end) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => is_known = false,
            }
        }
        is_known.then_some(self.0.is_empty())
    }
}

fn is_end(wanted: &Endpoint, (ip, port): SocketAddress) -> Option<bool> {
    let other_port = wanted.port().is_some_and(|wanted| Some(wanted) != port);
    match wanted {
        // A Service's port is not that of its endpoints.
        Endpoint::Service { .. } => None,
        _ if other_port => Some(false),
        Endpoint::Net { net, .. } => Some(net.contains(&ip)),
        Endpoint::Port(_) => Some(true),
        Endpoint::Pod { .. } | Endpoint::Workload { .. } => None,
    }
}

fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}
