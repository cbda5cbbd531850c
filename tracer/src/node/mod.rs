//! Facts of the node, read when they are asked for.
//!
//! Everything here only reads, in the network namespace it is asked about, within a time limit,
//! and on a thread of its own: never on the path of events.
//!
//! - [`listener`]: why a listener may have said nothing to a SYN; made of
//!   [`counters`], [`listeners`], [`sockets`], [`syn_queue`] and [`process`]
//! - [`owner`]: the namespace that has an address
//! - `query`: all that can be asked, and the answers
//! - [`facts`]: what is asked about a drop
//! - [`queue_program`]: the program that has refused a packet through NFQUEUE
//! - [`conntrack`]: how full the table is, and what it has counted
//! - [`bypass`]: entries of conntrack that the rules have moved on from
//! - [`fragments`]: the memory for reassembly
//! - [`tun`]: who reads a tun device
//! - [`proxy`]: rules that send packets to a proxy which is not there
//! - [`gather`]: what is around one dropped packet; made of [`route`], [`rpfilter`],
//!   [`overlay`] and [`programs`]
//! - [`world`]: all namespaces, and how they are tied to each other
//! - [`ruleset`]: which rule of netfilter dropped a packet
//! - [`mtu`], [`change`]: arithmetic on packet sizes, and commands with their undo

pub mod bypass;
pub mod change;
pub mod conntrack;
pub mod counters;
pub mod facts;
pub mod fragments;
pub mod gather;
pub mod listener;
pub mod listeners;
pub mod mtu;
pub mod overlay;
pub mod owner;
pub mod process;
pub mod programs;
pub mod proxy;
pub(crate) mod query;
pub mod queue_program;
pub mod route;
pub mod rpfilter;
pub mod ruleset;
pub mod silent_hop;
pub mod sockets;
pub mod syn_queue;
mod sysctl;
pub mod tun;
pub mod way;
pub mod world;
