//! How much work a trace is: counted where it is done, so that a test can hold it down.

/// How much work the drops of a trace were, or its attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// How often a drop was compared with what healthy traffic makes.
    pub(crate) noise_checks: u64,
    /// How often the rules were gone through for a verdict.
    pub(crate) judgements: u64,
    /// How often an address was looked up among the cluster's objects.
    pub(crate) name_lookups: u64,
    /// How often it was looked up which attempt a dropped packet belongs to.
    pub(crate) owner_lookups: u64,
}
