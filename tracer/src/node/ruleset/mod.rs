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
//! - Reporting: which rules could have dropped a packet ([`suspects`]), their [`owner`] and [`meaning`], and a
//!   fix for a user's; or what becomes of a packet that comes to a hook ([`passage`])

use std::collections::HashMap;

mod calico;
mod command;
pub(crate) mod condition;
mod dropped;
mod ebtables;
mod fix;
pub(crate) mod host;
pub(crate) mod ipset;
pub(crate) mod iptables;
mod iptables_listing;
mod iptables_rule;
mod iptables_target;
mod kube_router;
mod marking;
pub(crate) mod meaning;
pub(crate) mod model;
mod names;
pub(crate) mod nft;
mod nft_field;
mod nft_kernel;
mod nft_rule;
mod nft_text;
mod nft_value;
pub(crate) mod owner;
pub(crate) mod packet;
pub(crate) mod passage;
mod read;
mod shared;
mod state;
mod survey;
pub(crate) mod suspects;
#[cfg(test)]
pub(crate) use self::command::MOST_OUTPUT;

#[cfg(test)]
mod tests;
mod translation;
mod translator;
pub(crate) mod truth;
mod unestablished;
mod value;
mod walk;

pub(crate) use fix::Mending;
pub(crate) use marking::{Marking, SourceRanges};
pub(crate) use meaning::Meaning;
pub(crate) use owner::Owner;
pub(crate) use packet::HookPacket;
pub(crate) use shared::{Shared, generation};
pub(crate) use survey::Survey;
pub(crate) use suspects::{Hint, Suspect, Suspects};
pub(crate) use unestablished::Unestablished;

/// The netfilter rules of one network namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ruleset {
    /// Tables of either engine.
    pub(crate) tables: Vec<model::Table>,
    /// Sets that iptables' rules ask.
    pub(crate) ipsets: HashMap<String, ipset::IpSet>,
    /// What could not be read, each a sentence.
    pub(crate) gaps: Vec<String>,
    /// All of nf_tables was read.
    pub(crate) nft_read: bool,
    /// All of iptables' own tables were read.
    pub(crate) legacy_read: bool,
    /// Some chain, at whichever hook, translates addresses; then the kernel has NAT at all hooks.
    pub(crate) translates: bool,
    /// Some rule that was read has packets tracked in a zone.
    pub(crate) has_zones: bool,
}
