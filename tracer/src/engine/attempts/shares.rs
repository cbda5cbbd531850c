//! How the table is shared: a flood from many addresses of one network must not take the place of all
//! others.

use std::collections::HashMap;

/// How many attempts of each share are in the table, by [`tracer_common::share::Share::of`].
#[derive(Debug, Default)]
pub(super) struct Shares(HashMap<u32, usize>);

impl Shares {
    pub(super) fn taken(&mut self, share: u32) {
        *self.0.entry(share).or_default() += 1;
    }

    pub(super) fn returned(&mut self, share: u32) {
        if let Some(count) = self.0.get_mut(&share) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&share);
            }
        }
    }

    /// Which of these attempts is to make room for a newcomer of `share`: the first of those whose share
    /// has taken most; `None` if that would leave it no more than the newcomer's.
    pub(super) fn largest(&self, held: impl Iterator<Item = u32>, share: u32) -> Option<usize> {
        let of = |share: u32| self.0.get(&share).copied().unwrap_or(0);
        let sizes = held.map(of).enumerate();
        let (at, size) = sizes.min_by_key(|(at, size)| (std::cmp::Reverse(*size), *at))?;
        (size > of(share) + 1).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_largest_share_makes_room() {
        let mut shares = Shares::default();
        let held = [1, 2, 2, 2, 3];
        held.iter().for_each(|share| shares.taken(*share));
        let victim = |shares: &Shares, share| shares.largest(held.into_iter(), share);
        assert_eq!(victim(&shares, 4), Some(1));
        assert_eq!(victim(&shares, 3), Some(1));
        assert_eq!(victim(&shares, 2), None, "not for another of the same");
        shares.returned(2);
        assert_eq!(victim(&shares, 3), None, "they would change places");
        assert_eq!(victim(&shares, 4), Some(1));
        shares.returned(2);
        assert_eq!(victim(&shares, 4), None);
    }
}
