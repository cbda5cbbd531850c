//! Judging: from facts to a verdict. Plain code, without I/O.
//!
//! - [`mod@drop`]: a dropped packet, by a table of rules
//! - [`docs`][]: `docs/verdicts.md`
//! - [`cluster`]: what Kubernetes objects add to either
//! - [`explain`]: a flow that nothing was seen of, by the objects alone
//! - [`attempts`]: a connection attempt, by its ladder, its drops and what surrounds it
//! - [`connects`]: a connect that failed before it sent a packet
//!
//! Invariant: `confirmed` is said only of what was seen happening, and nothing is concluded from
//! silence alone. What no rule explains stays `unknown`, with what is known as evidence.

#[cfg(feature = "trace")]
pub(crate) mod attempts;
pub(crate) mod cluster;
#[cfg(feature = "trace")]
pub(crate) mod connects;
#[cfg(test)]
mod docs;
#[cfg(feature = "trace")]
pub(crate) mod drop;
#[cfg(feature = "trace")]
mod drops;
pub(crate) mod explain;
#[cfg(feature = "trace")]
mod neighbor;
#[cfg(feature = "trace")]
mod policy_rule;
mod rule;
#[cfg(feature = "trace")]
mod stale_entry;
#[cfg(feature = "trace")]
mod translation;
#[cfg(all(test, feature = "trace"))]
pub(crate) mod treatment;
