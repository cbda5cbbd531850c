//! whydrop: who dropped my packet?
//!
//! The pipeline, in one direction:
//!
//! ```text
//! kernel/probes ─► drops/decode ─► drops/fold ─► verdict ─► (names) ─► output
//! ```
//!
//! - [`cli`], [`config`], [`endpoint`], [`filter`]: what the user asks for
//! - [`kernel`]: the running kernel's facts, and the probes in it
//! - [`node`]: facts of the node, read on demand
//! - [`cluster`]: pods, Services and policies; [`policy`]: what the policies make of a flow
//! - [`drops`]: dropped packets
//! - [`attempts`]: connection attempts
//! - [`verdict`]: who dropped them
//! - [`layers`]: what a whole trace says of each layer
//! - [`record`], [`output`]: what the user sees; [`words`]: numbers in its sentences
//! - [`trace`], [`check`], [`explain`]: the commands, which put it together

pub mod attempts;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod config;
#[cfg(test)]
mod damage;
pub mod drops;
pub mod endpoint;
pub mod explain;
pub mod filter;
pub mod kernel;
pub mod layers;
pub mod node;
pub mod output;
pub mod policy;
pub mod record;
pub mod trace;
pub mod verdict;
pub mod words;
