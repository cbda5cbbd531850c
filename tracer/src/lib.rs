//! whydrop: who dropped my packet?
//!
//! The pipeline, in one direction:
//!
//! ```text
//! kernel/probes ─► decode ─► engine (track, judge, name) ─► sink
//! ```
//!
//! - [`tracer_model`], here `model`: the types that everything else speaks in
//! - [`cli`]: what the user asks for
//! - [`kernel`]: the running kernel's facts, and the probes in it
//! - [`net`]: the kernel's network: links, routes, neighbors, namespaces
//! - [`decode`]: from the kernel's bytes to typed facts
//! - [`node`]: facts of the node, read on demand
//! - [`cluster`]: pods, Services and policies; [`policy`]: what the policies make of a flow
//! - [`attempt`]: what was seen of one connection attempt
//! - [`engine`]: what a running trace makes of each input, without I/O
//! - [`verdict`]: who dropped it
//! - [`report`]: the accounts of a whole trace
//! - [`sink`]: text and JSON; [`words`]: numbers in its sentences
//! - [`command`]: the commands, which put it together

pub mod attempt;
pub mod cli;
pub mod cluster;
pub mod command;
#[cfg(test)]
mod damage;
pub mod decode;
#[cfg(test)]
mod dependencies;
pub mod engine;
pub mod kernel;
pub mod net;
pub mod node;
mod policy;
pub mod report;
pub mod sink;
pub mod verdict;
mod words;

use tracer_model as model;
