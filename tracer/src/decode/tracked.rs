//! What conntrack has said of a packet.

use tracer_common::event::ct;

/// The state that rules see (`ct state`, `--ctstate`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Tracked {
    /// It is not known.
    #[default]
    Unknown,
    /// It begins a connection.
    New,
    /// It belongs to a connection that was answered.
    Established,
    /// It speaks of a connection, or was announced by one.
    Related,
    /// It was exempted from tracking.
    Untracked,
    /// It has no entry: it fits no connection and may not begin one, or conntrack has not seen it.
    /// For a rule both are invalid (`nft_ct_get_eval` and `conntrack_mt` in the kernel).
    Nothing,
}

impl Tracked {
    /// From the bits of an event. The numbers are those of `enum ip_conntrack_info`
    /// (include/uapi/linux/netfilter/nf_conntrack_common.h), of which 3 and up are for answers.
    pub(crate) fn new(bits: u32) -> Self {
        const UNTRACKED: u32 = 7;
        let info = bits & ct::INFO;
        match (bits & ct::READ != 0, bits & ct::ENTRY != 0, info) {
            (false, ..) => Self::Unknown,
            (_, true, 0 | 3) => Self::Established,
            (_, true, 1 | 4) => Self::Related,
            (_, true, 2) => Self::New,
            (_, true, _) => Self::Unknown,
            (_, false, UNTRACKED) => Self::Untracked,
            (_, false, _) => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_that_rules_see() {
        let with = |info| Tracked::new(ct::READ | ct::ENTRY | info);
        let without = |info| Tracked::new(ct::READ | info);
        assert_eq!(Tracked::new(0), Tracked::Unknown);
        assert_eq!(
            [0, 1, 2, 3, 4].map(with),
            [
                Tracked::Established,
                Tracked::Related,
                Tracked::New,
                Tracked::Established,
                Tracked::Related
            ]
        );
        assert_eq!(
            [without(0), without(7)],
            [Tracked::Nothing, Tracked::Untracked]
        );
    }
}
