//! The handshake is done, and what follows does not get through.

use super::{Case, tls};
use crate::{
    model::{
        Confidence::{Likely, Possible},
        Outcome, Point,
    },
    verdict::{rule::Finding, translation},
    words,
};

/// NAT does not translate what follows the handshake.
pub(super) fn translation(case: &Case<'_>) -> Option<Finding> {
    let lost = case.around.lost_translation.as_ref()?;
    (case.outcome == Outcome::Stalled).then(|| translation::finding(lost, Likely))
}

/// What follows the handshake is sent again and again.
pub(super) fn stalled(case: &Case<'_>) -> Option<Finding> {
    (case.outcome == Outcome::Stalled).then_some(())?;
    let attempt = case.attempt;
    let mut evidence = Vec::new();
    let sent = attempt.retransmissions;
    let who = if sent.by_client {
        "the client"
    } else {
        "the server"
    };
    if sent.times > 0 {
        evidence.push(format!(
            "{who} sent {} of payload again {}; a full segment has {}",
            words::count(sent.len.into(), "byte"),
            words::times(sent.times),
            sent.mss
        ));
    }
    if let Some(too_big) = &attempt.too_big {
        evidence.push(format!("{} said \"too big\"", too_big.from));
    }
    let what = match attempt.unanswered_hello() {
        Some(_) => "the ClientHello does",
        None => "full-size segments do",
    };
    let full = sent.len > 0 && sent.len >= sent.mss;
    let (point, why) = if full || tls::is_long(attempt) {
        let why = format!(
            "the handshake is done, and {what} not get through: a hop beyond those seen may take \
             less"
        );
        (Point::Mtu, why)
    } else {
        let why = "the handshake is done, and what follows does not get through".to_owned();
        (Point::Unknown, why)
    };
    Some(Finding {
        evidence,
        ..Finding::new(point, Possible, why).about(&[&what])
    })
}
