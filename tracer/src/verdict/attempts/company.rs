//! What became of other attempts that went the same way: evidence, and no more than that.

use crate::{
    engine::tunnel_stats::{LATELY, Losses, Others},
    model::{Outcome, Point},
};

/// The numbers, where an attempt was lost in or behind a tunnel.
pub(super) fn in_words(others: &Others, outcome: Outcome, point: Point) -> Option<String> {
    let is_of_the_way = matches!(point, Point::Overlay | Point::OffNode | Point::Unknown);
    if outcome != Outcome::Unanswered || !is_of_the_way {
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
