//! Drop reasons.

use std::{fmt, sync::Arc};

/// Why the kernel says that it dropped a packet: the name without `SKB_DROP_REASON_`. The names are
/// the running kernel's, so there is no closed list of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason(Arc<str>);

impl Reason {
    /// What the kernel gives where it does not say why; all there is before 5.17.
    pub const NOT_SPECIFIED: &str = "NOT_SPECIFIED";

    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it has this name.
    pub fn is(&self, name: &str) -> bool {
        &*self.0 == name
    }

    /// Whether the kernel says why at all.
    pub fn is_specified(&self) -> bool {
        !self.is(Self::NOT_SPECIFIED)
    }
}

impl From<&str> for Reason {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for Reason {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
