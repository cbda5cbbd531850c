//! Every scenario, in one program: it links once, and its scenarios run side by side.
//!
//! `cargo test -p whydrop-tests --test scenarios verdict_mtu::` runs those of one file.

mod attempts_answers;
mod attempts_firewall;
mod attempts_nat;
mod attempts_offnode;
mod attempts_stalled;
mod by_name;
mod cluster_api;
mod cluster_cri;
mod cluster_verdicts;
mod company;
mod counting;
mod dns;
mod event_loss;
mod explain;
mod flood;
mod incidents;
mod interfaces;
mod lab;
mod lifecycle;
mod listener;
mod nat;
mod netfilter;
mod output_ends;
mod policy_causes;
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
