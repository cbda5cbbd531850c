//! Tracking, folding, judging and naming: what a running trace knows, and what it makes of each
//! event.

pub mod attempt;
pub mod attempt_record;
pub(crate) mod cluster_context;
pub(crate) mod filter_names;
pub mod fold;
pub(crate) mod in_flight;
pub(crate) mod listener_check;
pub(crate) mod neighbor_check;
pub(crate) mod outcomes;
#[cfg(test)]
mod properties;
pub(crate) mod queries;
pub(crate) mod session;
pub mod table;
pub mod tunnel_stats;
