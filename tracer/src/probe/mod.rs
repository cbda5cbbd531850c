//! `whydrop probe`: walks the layers of one connection now, and says which of them fails.
//!
//! It is the only part of whydrop that sends packets. Whatever it sends is in its [`Plan`] before the
//! first packet leaves.
//!
//! ```text
//! cli, cluster, resolv.conf ─► plan ─► send ─► results ─┐
//!                                trace ─► observed ─────┴─► layers ─► LayerReport
//! ```
//!
//! - [`resolv`]: the resolver's configuration, and the names that it asks for
//! - [`target`]: the destination and the addresses behind it
//! - [`plan`]: everything that will be sent
//! - [`send`]: sends it; the only I/O here
//! - [`observed`]: what the trace has seen of the probe's own packets
//! - [`layers`]: from what was sent, answered and seen to the result of each layer

#[cfg(feature = "trace")]
pub(crate) mod layers;
#[cfg(feature = "trace")]
pub(crate) mod observed;
#[cfg(feature = "trace")]
pub(crate) mod plan;
pub(crate) mod resolv;
#[cfg(feature = "trace")]
pub(crate) mod send;
pub(crate) mod target;

#[cfg(feature = "trace")]
pub(crate) use self::plan::Plan;
