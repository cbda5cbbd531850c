//! What followed a ClientHello.

use super::Case;
use crate::{
    attempt::Attempt,
    decode::tls::Tls,
    model::{Confidence::Likely, Direction, Outcome, Point},
    verdict::rule::Finding,
};

/// A packet of this length, headers included, passes wherever IPv6 does (RFC 8200, section 5); a
/// larger one may not.
const ALWAYS_PASSES: u32 = 1280;
/// The least that the headers of IPv4 and TCP take of it.
const HEADERS: u32 = 40;

/// A RST came instead of the server's first data.
pub(super) fn reset(case: &Case<'_>) -> Option<Finding> {
    let attempt = case.attempt;
    let tls = attempt.tls.as_ref()?;
    (case.outcome == Outcome::Refused && attempt.is_reset_in_tls()).then_some(())?;
    let who = resetter(tls);
    Some(Finding {
        evidence: vec![
            format!(
                "the ClientHello of {} bytes was seen at {}, and the RST came before any data of \
                 the server's",
                tls.len, tls.place.ifname
            ),
            "the TCP handshake was done: port, routes and policies let the connection in"
                .to_owned(),
        ],
        ..Finding::new(
            Point::Socket,
            Likely,
            format!(
                "the ClientHello was answered with a RST by {who}: the server ended it, or a \
                 device on the way that looks into TLS"
            ),
        )
        .about(&[&who])
    })
}

/// Who sent the RST.
pub(super) fn resetter(tls: &Tls) -> String {
    match &tls.reset_at {
        Some(place) if place.dir == Direction::In => {
            format!("the far end, through {}", place.ifname)
        }
        _ => "this node".to_owned(),
    }
}

/// A ClientHello that was never acknowledged, as evidence.
pub(super) fn unanswered(attempt: &Attempt) -> Option<String> {
    let tls = attempt.unanswered_hello()?;
    let times = match tls.times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    };
    Some(format!(
        "the ClientHello of {} bytes was seen {times} at {}, and never acknowledged",
        tls.len, tls.place.ifname
    ))
}

/// Whether the ClientHello is so long that a narrow hop may be what stops it.
pub(super) fn is_long(attempt: &Attempt) -> bool {
    let hello = attempt.unanswered_hello();
    hello.is_some_and(|tls| tls.len + HEADERS > ALWAYS_PASSES)
}
