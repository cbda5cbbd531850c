//! The typed domain of whydrop: what its modules speak in, what its sinks write, and what its tests
//! and other tools read.
//!
//! - [`flow`], [`protocol`], [`packet`], [`tcp_flags`]: a packet and its headers
//! - [`place`], [`hook`], [`reason`]: where and why the kernel gave it up
//! - [`outcome`], [`verdict`], [`point`]: what became of it, who lost it, and how sure that is
//! - [`fix`], [`shell`], [`netns`]: what would let it through, and how that is done where
//! - [`pod`]: whose an address is
//! - [`report`], [`summary`], [`path`], [`probe`]: what reaches the user
//! - [`clock`], [`tallies`]: the kernel's time, and what it could not send or count
//! - [`record`]: how a report is written as JSON, and read again
//!
//! Invariant: no I/O, and nothing of this workspace but `tracer-common`. Only `record` knows JSON.

mod clock;
mod fix;
mod flow;
mod hook;
mod netns;
mod outcome;
mod packet;
mod path;
mod place;
mod pod;
mod point;
mod probe;
mod protocol;
mod reason;
pub mod record;
mod report;
pub mod shell;
mod summary;
mod tallies;
mod tcp_flags;
mod verdict;

pub use self::{
    clock::Clock,
    fix::{Apply, Fix, Manifest, Netns, Site, Undo},
    flow::{Flow, Outer, SocketAddress, address},
    hook::Hook,
    netns::NetnsName,
    outcome::{Outcome, ReplyKind, TlsStage},
    packet::Packet,
    path::{Between, NodeClock, PathHop, PathReport},
    place::{Direction, Place},
    pod::Pod,
    point::{Confidence, Point},
    probe::{LayerReport, LayerTest, PlanReport, Sending, Skip},
    protocol::Protocol,
    reason::Reason,
    report::{AttemptReport, Dns, DropReport, Hop, Lost, More, Report, Scope, Started, Tick},
    summary::{Layer, LayerResult, LayerRow, OtherVerdict, Span, Summary, VerdictCount},
    tallies::Tallies,
    tcp_flags::TcpFlags,
    verdict::{Cause, PolicyDirection, PolicyVerdict, Refuted, RuleName, Verdict},
};
