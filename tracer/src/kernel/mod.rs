//! The running kernel: what it calls things, and the probes in it.
//!
//! - [`btf`]: the only reader of BTF
//! - [`probes`]: the only user of aya
//! - [`reasons`], [`symbols`], [`hook`], [`clock`]: numbers to names
//! - [`preflight`]: what this kernel and this process can and cannot do

pub mod btf;
pub mod clock;
pub mod hook;
pub mod preflight;
pub mod probes;
pub mod reasons;
pub mod symbols;
