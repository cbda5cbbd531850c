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
//! - [`probe`]: what `whydrop probe` sends, and what it found at each layer
//! - [`join`]: traces of several nodes as one path for each attempt
//! - [`report`]: the accounts of a whole trace
//! - [`sink`]: text and JSON; [`words`]: numbers in its sentences
//! - [`command`]: the commands, which put it together

// The laptop's half uses a part of the modules that both halves share.
#![cfg_attr(
    not(feature = "trace"),
    allow(dead_code, unused_imports, reason = "used by the node's half")
)]

#[cfg(feature = "trace")]
mod attempt;
mod cli;
mod cluster;
mod command;
#[cfg(test)]
mod damage;
#[cfg(feature = "trace")]
mod decode;
#[cfg(test)]
mod dependencies;
#[cfg(feature = "trace")]
mod engine;
#[cfg(test)]
mod fuzz;
mod join;
#[cfg(feature = "trace")]
mod kernel;
#[cfg(test)]
mod limits_table;
#[cfg(feature = "trace")]
mod net;
#[cfg(feature = "trace")]
mod node;
mod policy;
mod probe;
#[cfg(all(test, feature = "trace"))]
mod reason_coverage;
mod report;
mod sink;
mod verdict;
mod words;

use tracer_model as model;

pub use self::command::main;
