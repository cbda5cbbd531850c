//! The lab: network namespaces on the running kernel, traffic between them, ways to break it, and
//! a harness that runs `whydrop` beside it and reads its records.
//!
//! | module | one job |
//! |---|---|
//! | [`lab`] | namespaces, links and addresses; the topologies built of them; cleaning up |
//! | [`traffic`] | connections, datagrams and servers, in process |
//! | [`bpf`] | tiny kernel programs, and what the kernel measures of programs |
//! | [`mod@bench`] | the benchmarks behind `cargo xtask bench` |
//! | [`fault`] | what breaks traffic: netfilter rules, tc and XDP programs |
//! | [`sink`] | a device that swallows packets without a trace |
//! | [`resource_usage`] | what a process uses: memory, descriptors, BPF objects |
//! | [`tracer`] | starts `whydrop -o json`, follows its records, stops it |
//! | [`record`] | those records, read strictly after the contract |
//! | [`recording`] | the rules of a real cluster's nodes, loaded into a lab |
//! | [`attempt`] | a trace beside connection attempts |
//! | [`mod@probe`] | runs `whydrop probe`, and reads what it found |
//! | [`offer`] | the fixes that verdicts offer, tried |
//! | [`runtime`] | containerd in a lab, and pods that run in it |
//! | [`apiserver`] | an API server that replays what a real one has sent |
//! | [`joined`] | traces of two nodes at the same time, and their paths |
//! | [`kernel`] | which kernel runs, for what differs between kernels |
//! | [`expected`] | what the records of a trace must say |
//! | [`incident`] | failures that were reported in public, rebuilt in a few lines |
//! | [`machine`] | scenarios side by side, and those that cannot be |
//! | [`scenario`] | a conversation that works, then a fault, then the drop that must show |
//!
//! All but [`apiserver`] needs root, and everything happens inside namespaces that the lab made
//! itself.

pub mod apiserver;
pub mod attempt;
pub mod bench;
mod binary;
pub mod bpf;
pub mod expected;
pub mod fault;
pub mod incident;
mod interrupt;
pub mod joined;
pub mod kernel;
pub mod kube;
pub mod lab;
pub mod machine;
pub mod offer;
pub mod plugin;
pub mod probe;
pub mod record;
pub mod recording;
pub mod resource_usage;
pub mod runtime;
mod said;
pub mod scenario;
pub mod sink;
pub mod tracer;
pub mod traffic;
mod wait;

pub use binary::binary;
pub use interrupt::on_interrupt;
pub use wait::{deadline, poll_until};

/// A user and a group without any privileges: the kernel's overflow id.
pub const UNPRIVILEGED: u32 = 65534;
