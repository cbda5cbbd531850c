//! Whether something matches: yes, no, or it cannot be told. With the reasons.

/// Whether something matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match {
    /// It does.
    Yes,
    /// It does not.
    No(Near),
    /// It cannot be told, because.
    Unknown(String),
}

/// How nearly something matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Near {
    /// What would match, and what is there instead.
    pub(super) words: String,
    /// The more, the nearer.
    pub(super) nearness: u8,
}

impl Match {
    pub(super) fn no(words: impl Into<String>, nearness: u8) -> Self {
        Self::No(Near {
            words: words.into(),
            nearness,
        })
    }
}
