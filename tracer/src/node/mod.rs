//! Facts of the node, read when they are asked for.
//!
//! Everything here only reads, in the network namespace it is asked about, within a time limit,
//! and on a thread of its own: never on the path of events.
//!
//! - [`netns`]: work inside a network namespace
//! - [`listener`]: why a listener may have said nothing to a SYN; made of
//!   [`counters`], [`listeners`], [`syn_queue`] and [`process`]
//! - [`owner`]: the namespace that has an address
//! - [`facts`]: what is asked about a drop
//! - [`conntrack`]: how full the table is

pub mod conntrack;
pub mod counters;
pub mod facts;
pub mod listener;
pub mod listeners;
pub mod netns;
pub mod owner;
pub mod process;
mod sock_diag;
pub mod syn_queue;
mod sysctl;
