//! What came back, and who sent it.

use std::net::IpAddr;

use tracer_common::tunnel::Tunnel;

use super::{AttemptContext, Case, tls::resetter};
use crate::{
    attempt::{Attempt, Reply},
    model::{
        Confidence::{Confirmed, Likely, Possible},
        Flow, Outcome, Point,
    },
    verdict::rule::Finding,
};

/// Who sent what came back.
pub(crate) fn sender(attempt: &Attempt, around: &AttemptContext) -> Option<String> {
    if attempt.is_reset_in_tls() {
        return attempt.tls.as_ref().map(resetter);
    }
    let first = attempt.reply_hops.first()?;
    match attempt.reply.as_ref()? {
        Reply::Answer(_) => None,
        Reply::Rejection(rejection) => Some(match attempt.reply_is_local() {
            true if around.sender_is_own => format!("{} (this node)", rejection.from),
            // NAT has given it the address that the client asked.
            true => format!("this node, as {}", rejection.from),
            false => match &around.sender_name {
                Some(name) => format!("{name} ({})", rejection.from),
                None => rejection.from.to_string(),
            },
        }),
        Reply::Reset if !attempt.reply_is_local() => {
            Some(format!("the far end, through {}", first.place.ifname))
        }
        Reply::Reset => Some("this node".to_owned()),
    }
}

/// A RST came back.
pub(super) fn refused(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Refused).then_some(())?;
    let attempt = case.attempt;
    let who = sender(attempt, case.around).unwrap_or_else(|| "an unknown host".to_owned());
    let finding = if attempt.reply_is_local() {
        let why = "a RST was made in the last namespace that saw the SYN: nothing listens there, or \
                   a rule rejects with tcp reset";
        Finding::new(Point::Socket, Possible, why)
    } else {
        let why =
            format!("the connection was refused with a RST by {who}: most often a closed port");
        Finding::new(Point::Socket, Likely, why)
    };
    Some(finding.about(&[&who]))
}

/// An ICMP error came back.
pub(super) fn rejected(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Rejected).then_some(())?;
    let attempt = case.attempt;
    let Some(Reply::Rejection(rejection)) = &attempt.reply else {
        let why = "rejected; the sender of the error was not seen";
        return Some(Finding::new(Point::Unknown, Possible, why));
    };
    let who = sender(attempt, case.around).unwrap_or_else(|| rejection.from.to_string());
    let [kind, code] = rejection.icmp;
    let (point, confidence, why) = match (rejection.v6, kind, code) {
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => (
            Point::Firewall,
            Likely,
            format!("{who} says: administratively prohibited"),
        ),
        (false, 3, 1) | (true, 1, 3) => (
            Point::Endpoint,
            Likely,
            match attempt.last_hop() {
                Some(last) => {
                    let to = IpAddr::from(last.flow.dst);
                    format!("{who} says: host unreachable: no host answers for {to}")
                }
                None => format!("{who} says: host unreachable: no host answers at that address"),
            },
        ),
        (false, 3, 0) | (true, 1, 0) => (
            Point::Route,
            Likely,
            format!("{who} says: no route to that network"),
        ),
        (false, 3, 3) | (true, 1, 4) if attempt.is_rejected_by_destination(rejection) => (
            Point::Socket,
            Likely,
            format!(
                "{who} says: port unreachable: nothing listens there (or a rule of that host rejects)"
            ),
        ),
        // Closed TCP ports answer with a RST, so this is a rule's. A rule of whom cannot be seen from
        // here: a firewall's, a policy's, or kube-proxy's for a Service without endpoints.
        (false, 3, 3) | (true, 1, 4) => (
            Point::Firewall,
            Possible,
            format!(
                "{who} says: port unreachable, which is a rule there that rejects: a firewall's, a \
                 policy's, or that of a Service without endpoints"
            ),
        ),
        (false, 11, _) | (true, 3, _) => match attempt.circled() {
            Some(step) => (
                Point::Route,
                Confirmed,
                format!(
                    "{who} says: time exceeded: a routing loop: the SYN passed {} {} times",
                    step.place.ifname, step.times
                ),
            ),
            None => (
                Point::Route,
                Likely,
                format!(
                    "{who} says: time exceeded: a routing loop, or a sender whose TTL is too small"
                ),
            ),
        },
        _ => (
            Point::Unknown,
            Possible,
            format!("{who} rejected it with ICMP type {kind} code {code}"),
        ),
    };
    Some(Finding::new(point, confidence, why).about(&[&who, &kind, &code]))
}

/// An ICMP error came back to the tunnel's own end: it is about the packet that carried the SYN, and
/// does not reach the client.
pub(super) fn tunnel_rejected(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Unanswered && case.attempt.reply.is_none()).then_some(())?;
    let rejection = case.attempt.tunnel_error.as_ref()?;
    let carrier = Flow::from(rejection.carrier.as_ref()?);
    let [kind, code] = rejection.icmp;
    let says = match (rejection.v6, kind, code) {
        (false, 3, 3) | (true, 1, 4) => match carrier.dport {
            Some(port) => format!("nothing takes {} port {port} there", carrier.proto),
            // Of a protocol without ports, it is the protocol that no one takes.
            None => format!("nothing takes {} there", carrier_in_words(&carrier)),
        },
        (false, 3, 2) => format!("nothing takes {} there", carrier_in_words(&carrier)),
        (false, 3, 1) | (true, 1, 3) => "host unreachable".to_owned(),
        (false, 3, 0) | (true, 1, 0) => "no route to that network".to_owned(),
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited".to_owned(),
        _ => format!("ICMP type {kind} code {code}"),
    };
    let (from, remote) = (rejection.from, carrier.dst);
    let why = if from == remote {
        format!("the tunnel's remote end {remote} says: {says}")
    } else {
        format!("{from} says of the tunnel's packet to {remote}: {says}")
    };
    let mut finding = Finding::new(Point::Overlay, Likely, why).about(&[&from, &remote, &says]);
    finding.fact(format!(
        "the ICMP error quotes {} from {} to {remote}, which carried it",
        carrier_in_words(&carrier),
        carrier.src
    ));
    Some(finding)
}

/// What a packet is that carries another one, as firewalls ask for it: a protocol without a name by its
/// number.
pub(super) fn carrier_in_words(carrier: &Flow) -> String {
    let number = carrier.proto.number();
    match carrier.proto.name() {
        Some(name) => name.to_owned(),
        None => match Tunnel::of_protocol(number, carrier.dst.is_ipv6()) {
            Some(tunnel) => format!("{} (protocol {number})", tunnel.name()),
            None => format!("protocol {number}"),
        },
    }
}
