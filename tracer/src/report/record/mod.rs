//! The records of a trace, as the JSON contract (schema 1) defines them.
//!
//! A record is what reaches the user: one line of JSON, or one entry in the text stream. Whatever
//! is not known is `None` and becomes `null`, never a guess. Addresses are strings in the JSON,
//! ports are numbers in host byte order.

mod attempt;
mod drop;
mod packet;
mod summary;
mod verdict;
mod wire;

use std::time::SystemTime;

use serde::Serialize;

use self::wire::rfc3339;
pub use self::{
    attempt::{Attempt, Direction, Dns, Hop, Outcome, Tls},
    drop::Drop,
    packet::{Flow, Packet, Pod},
    summary::{LayerResult, LayerRow, Summary, VerdictCount},
    verdict::{Confidence, Point, PolicyVerdict, Verdict},
};

/// One line of output.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// Everything is attached.
    Started(Started),
    /// One dropped packet, or several alike folded into one.
    Drop(Box<Drop>),
    /// One connection attempt whose fate is known.
    Attempt(Box<Attempt>),
    /// Events that could not be shown.
    Lost(Lost),
    /// The last record of a trace.
    Summary(Summary),
}

/// Everything is attached; from here on nothing is missed.
#[derive(Debug, Clone, Serialize)]
pub struct Started {
    /// When the last probe was attached.
    #[serde(serialize_with = "rfc3339")]
    pub ts: SystemTime,
    /// The running kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// How many interfaces carry tc probes.
    pub interfaces: usize,
    /// The kernel hooks that are attached.
    pub hooks: Vec<String>,
    /// What this kernel or node cannot show, a sentence each.
    pub degraded: Vec<String>,
    /// The filter in force, as a person would say it.
    pub filter: String,
}

/// Events that could not be shown, since the last such record.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    /// When the loss was noticed.
    #[serde(serialize_with = "rfc3339")]
    pub ts: SystemTime,
    /// How many events.
    pub events: u64,
    /// Where they were lost.
    #[serde(rename = "where")]
    pub place: String,
}
