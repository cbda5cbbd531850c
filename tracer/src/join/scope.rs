//! Whether a node would have seen a packet: only if its filter matches it there.
//!
//! A filter by a Service's address does not match, at the far node, what the first node has translated.
//! So silence of a node means something only if its filter is known to match the packet as it is on the
//! wire.

use super::trace::Trace;
use crate::{
    cli::{Proto, endpoint::Endpoint},
    model::{Flow, Protocol, Scope},
};

/// Whether the filter of a trace matches this flow. `None` where that cannot be known: the filter is by
/// a name, and no attempt to the same destination was seen; or the trace does not have its filter.
pub(super) fn matches(trace: &Trace, flow: &Flow) -> Option<bool> {
    let known = trace
        .scope
        .as_ref()
        .and_then(|scope| by_filter(scope, flow));
    known.or_else(|| {
        let server = flow.destination();
        let seen = trace.attempts.iter().flat_map(|attempt| {
            let hops = attempt.hops.iter().filter_map(|hop| hop.flow);
            hops.chain([attempt.flow])
        });
        let mut seen = seen.filter(|other| other.proto == flow.proto);
        seen.any(|other| other.destination() == server)
            .then_some(true)
    })
}

fn by_filter(scope: &Scope, flow: &Flow) -> Option<bool> {
    let has_protocol = match scope.proto.as_str() {
        proto if proto == Proto::Any.name() => true,
        proto => proto
            .parse::<Protocol>()
            .is_ok_and(|proto| proto == flow.proto),
    };
    if !has_protocol {
        return Some(false);
    }
    let end = |text: &Option<String>, flow: &Flow, is_source: bool| {
        let (ip, port) = if is_source {
            flow.source()
        } else {
            flow.destination()
        };
        let Some(text) = text else {
            return Some(true);
        };
        let endpoint = text.parse::<Endpoint>().ok()?;
        if endpoint.port().is_some_and(|wanted| Some(wanted) != port) && has_own_port(&endpoint) {
            return Some(false);
        }
        match endpoint {
            Endpoint::Net { net, .. } => Some(net.contains(&ip)),
            Endpoint::Port(_) => Some(true),
            Endpoint::Pod { .. } | Endpoint::Service { .. } | Endpoint::Workload { .. } => None,
        }
    };
    let ways = [*flow, flow.reversed()]
        .map(|flow| both(end(&scope.to, &flow, false), end(&scope.from, &flow, true)));
    match ways {
        [Some(true), _] | [_, Some(true)] => Some(true),
        [Some(false), Some(false)] => Some(false),
        _ => None,
    }
}

/// A Service's port is not that of its endpoints.
fn has_own_port(endpoint: &Endpoint) -> bool {
    !matches!(endpoint, Endpoint::Service { .. })
}

fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}
