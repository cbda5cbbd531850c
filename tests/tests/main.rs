//! Each scenario is a way to lose packets that can be made on one machine, with real parts of the
//! kernel in network namespaces. It asserts the verdict's point, confidence and key figures, and has
//! a healthy twin: the same conversation before the fault, or beside it, which must leave no record.
//! It runs over IPv4 and IPv6 wherever both have what it is about.
//!
//! All scenarios are one program: it links once, and they run side by side. `cargo test -p
//! whydrop-tests --test scenarios verdict_mtu::` runs those of one file. The tables are made from
//! their doc comments by `cargo xtask scenarios`.
//!
//! Not made here: a backlog of a socket or of a CPU that overflows. What only other kernels have, such as
//! WireGuard or VRFs, is skipped where it is not, and said to be (`overlays`, `datapaths`).

mod attempts_answers;
mod attempts_firewall;
mod attempts_nat;
mod attempts_offnode;
mod attempts_stalled;
mod by_name;
mod causes;
mod cluster_api;
mod cluster_cri;
mod cluster_services;
mod cluster_verdicts;
mod company;
mod connects;
mod counting;
mod datapaths;
mod dns;
mod event_loss;
mod explain;
mod flood;
mod hostile;
mod incidents;
mod interfaces;
mod join;
mod kubectl;
mod lab;
mod lifecycle;
mod listener;
mod many_answered;
mod nat;
mod netfilter;
mod output_ends;
mod overlays;
mod policy_causes;
mod probe;
mod read_only;
mod rulesets;
mod silence;
mod size;
mod tls;
mod usage;
mod verdict_cluster;
mod verdict_conntrack;
mod verdict_firewall;
mod verdict_host;
mod verdict_mtu;
mod verdict_overlay;
mod verdict_path;
mod verdict_policy;
mod verdict_report;
mod verdict_socket;
