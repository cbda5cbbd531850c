//! Which rule of netfilter dropped a packet.
//!
//! The kernel does not say: a drop shows the hook, the packet and, at best, which engine it was.
//! So the ruleset is read, never written, and the packet is walked through it with three-valued
//! logic: what a rule asks and the packet does not show may hold or not. What is left are the
//! rules that *can* have dropped it. Counters, read afterwards, narrow them down.
//!
//! - Reading: `read` runs the tools by `command`; [`nft`], [`iptables`] and [`ipset`] turn
//!   what they print into the [`model`]
//! - Deciding: [`packet`] at the hook, what its [`host`] says, [`truth`] of conditions, `walk`
//!   through the chains
//! - Telling: who can have dropped a packet ([`suspects`]), their [`owner`] and [`meaning`], and a
//!   fix for a user's; or what becomes of a packet that comes to a hook ([`passage`])

use std::collections::HashMap;

mod command;
pub mod condition;
mod dropped;
mod fix;
pub mod host;
pub mod ipset;
pub mod iptables;
mod iptables_rule;
mod iptables_target;
mod kube_router;
pub mod meaning;
pub mod model;
mod names;
pub mod nft;
mod nft_field;
mod nft_kernel;
mod nft_rule;
mod nft_text;
mod nft_value;
pub mod owner;
pub mod packet;
pub mod passage;
mod read;
mod state;
mod survey;
pub mod suspects;
#[cfg(test)]
mod tests;
mod translation;
pub mod truth;
mod value;
mod walk;

pub use fix::Mending;
pub use meaning::Meaning;
pub use owner::Owner;
pub use packet::HookPacket;
pub use survey::Survey;
pub use suspects::{Hint, Suspect, Suspects};

/// The netfilter rules of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    /// Tables of either engine.
    pub tables: Vec<model::Table>,
    /// Sets that iptables' rules ask.
    pub ipsets: HashMap<String, ipset::IpSet>,
    /// What could not be read, each a sentence.
    pub gaps: Vec<String>,
    /// All of nf_tables was read.
    pub nft_read: bool,
    /// All of iptables' own tables were read.
    pub legacy_read: bool,
    /// Some chain, at whichever hook, translates addresses; then the kernel has NAT at all hooks.
    pub translates: bool,
}
