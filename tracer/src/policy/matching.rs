//! Whether something matches: yes, no, or undecidable, with the reasons.

/// Whether something matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// It does.
    Yes,
    /// It does not.
    No(Near),
    /// Undecidable, for this reason.
    Unknown(String),
}

/// How nearly something matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Near {
    /// What would match, and what is there instead; empty where it is not read.
    pub(super) words: String,
    /// The more, the nearer.
    pub(super) nearness: u8,
}

/// How much is said of a miss. One namespace can have a hundred thousand rules, of which the
/// nearest few are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// How near it is.
    Nearness,
    /// And in what it misses.
    Words,
}

impl Detail {
    /// A miss of this nearness.
    pub(super) fn miss(self, nearness: u8, words: impl FnOnce() -> String) -> Match {
        Match::No(Near {
            words: match self {
                Self::Nearness => String::new(),
                Self::Words => words(),
            },
            nearness,
        })
    }
}
