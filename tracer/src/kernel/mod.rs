//! The running kernel: what it calls things, and the probes in it.
//!
//! - [`btf`]: the only reader of BTF
//! - [`probes`]: the only user of aya
//! - [`reasons`], [`symbols`], [`hook`], [`clock`]: numbers to names
//! - [`root`]: where the node's own files are
//! - [`priority`]: the processor time that this process takes
//! - [`preflight`]: what this kernel and this process can and cannot do

pub(crate) mod btf;
pub(crate) mod budget;
mod cgroup;
pub(crate) mod clock;
pub(crate) mod connect_error;
pub(crate) mod hook;
mod memory;
pub(crate) mod preflight;
pub(crate) mod priority;
pub(crate) mod probes;
pub(crate) mod reasons;
pub(crate) mod root;
pub(crate) mod symbols;
