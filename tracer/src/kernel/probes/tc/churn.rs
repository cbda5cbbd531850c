//! When attaching to each interface costs the node too much.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::attachment::MANY;

/// The time that is looked back.
const WINDOW: Duration = Duration::from_secs(10);
/// How many interfaces may appear in that time: to attach to them holds the RTNL for half a second.
const BURST: usize = 20;

/// How fast interfaces appear.
#[derive(Debug, Default)]
pub(crate) struct Churn {
    appeared: VecDeque<Instant>,
}

impl Churn {
    /// Takes how many have appeared just now, and how many there are. Returns whether the tracepoints
    /// should see the packets of all of them instead.
    pub(crate) fn is_too_much(&mut self, now: Instant, appeared: usize, present: usize) -> bool {
        let is_old = |then: &Instant| now.duration_since(*then) > WINDOW;
        while self.appeared.front().is_some_and(is_old) {
            self.appeared.pop_front();
        }
        // More of them would say no more. The last answer was no, so at most `BURST` are there.
        let more = appeared.min(BURST + 1);
        self.appeared.extend(std::iter::repeat_n(now, more));
        self.appeared.len() > BURST || present > MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_pods_are_no_churn_and_a_burst_is() {
        let start = Instant::now();
        let mut churn = Churn::default();
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            assert!(!churn.is_too_much(now, 1, 10), "{second}");
        }
        assert!(churn.is_too_much(start + Duration::from_secs(100), BURST, 10));
        assert!(Churn::default().is_too_much(start, 500, 10));
    }

    #[test]
    fn more_than_many_are_too_much_however_slowly_they_came() {
        let now = Instant::now();
        assert!(!Churn::default().is_too_much(now, 1, MANY));
        assert!(Churn::default().is_too_much(now, 1, MANY + 1));
    }
}
