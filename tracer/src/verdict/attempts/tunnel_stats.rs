//! What became of other attempts through the same tunnel: evidence, and no more than that.

use std::{net::IpAddr, time::Duration};

use crate::model::{Outcome, Point};

/// How long an attempt counts.
pub(crate) const LATELY: Duration = Duration::from_mins(5);

/// How many attempts were lost, of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Those that got no answer.
    pub(crate) lost: u64,
    /// All, lost or answered.
    pub(crate) all: u64,
}

/// What became of the other attempts, beside one that went through a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OtherAttempts {
    /// The tunnel's remote end.
    pub(crate) remote: IpAddr,
    /// Those to or from the same remote end.
    pub(crate) to_remote: Losses,
    /// Those that stayed on this node.
    pub(crate) here: Losses,
}

/// The numbers, where an attempt was lost in or behind a tunnel.
pub(super) fn in_words(others: &OtherAttempts, outcome: Outcome, point: Point) -> Option<String> {
    let is_on_the_path = matches!(point, Point::Overlay | Point::OffNode | Point::Unknown);
    if outcome != Outcome::Unanswered || !is_on_the_path {
        return None;
    }
    let lost = |losses: Losses| format!("{} of {}", losses.lost, losses.all);
    let here = match others.here.all {
        0 => String::new(),
        _ => format!(", {} within this node", lost(others.here)),
    };
    Some(format!(
        "other attempts in the last {} minutes: {} by the tunnel to {} were lost{here}",
        LATELY.as_secs() / 60,
        lost(others.to_remote),
        others.remote
    ))
}
