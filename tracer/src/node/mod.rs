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
//! - [`answer_route`]: the route of an answer that takes another way
//! - [`bypass`]: entries of conntrack that the rules have moved on from
//! - [`translation`]: open connections whose entry is gone
//! - [`fragments`]: the memory for reassembly
//! - [`ipsec`]: the policy of IPsec that refuses a packet
//! - [`taker`]: the socket that takes a packet, or that none does
//! - [`tun`]: who reads a tun device
//! - [`unread`]: data that waits in a server's socket
//! - [`proxy`]: rules that send packets to a proxy which is not there
//! - [`gather`]: what is around one dropped packet; made of [`route`], [`rpfilter`],
//!   [`overlay`] and [`programs`]
//! - [`world`]: all namespaces, and how they are tied to each other
//! - [`ruleset`]: which rule of netfilter dropped a packet
//! - [`mtu`], [`change`]: arithmetic on packet sizes, and commands with their undo

pub(crate) mod answer_route;
pub(crate) mod bypass;
pub(crate) mod change;
pub(crate) mod connect;
pub(crate) mod conntrack;
pub(crate) mod counters;
pub(crate) mod datagrams;
pub(crate) mod facts;
pub(crate) mod fragments;
pub(crate) mod gather;
pub(crate) mod ipsec;
pub(crate) mod ipvs;
pub(crate) mod listener;
pub(crate) mod listeners;
pub(crate) mod mtu;
pub(crate) mod overlay;
pub(crate) mod owner;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod proxy;
pub(crate) mod query;
pub(crate) mod queue_program;
pub(crate) mod route;
pub(crate) mod rpfilter;
pub(crate) mod ruleset;
pub(crate) mod silent_hop;
pub(crate) mod sockets;
pub(crate) mod syn_queue;
mod sysctl;
pub(crate) mod taker;
pub(crate) mod translation;
pub(crate) mod tun;
pub(crate) mod unread;
pub(crate) mod way;
pub(crate) mod wireguard;
pub(crate) mod world;
