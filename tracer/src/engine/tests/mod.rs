//! The engine's timing rules, driven by inputs alone.
//!
//! - [`Rig`] plays the kernel and the node: it keeps the counts that the kernel would, and the
//!   questions that the node would be asked
//! - `packets`: what happens there

mod attempts;
mod drops;
mod encrypted;
mod late;
mod losses;
mod packets;
mod path_mtu;
mod rig;
mod ways;
mod work;

use std::{collections::BTreeMap, time::SystemTime};

use tracer_common::{
    address::Address,
    event::{DropKey, EarlyHop, RetransmitEvent, direction, kind},
    packet::{Tcp, protocol},
    tuple::Tuple,
};

use self::{packets::*, rig::Rig};
use super::{
    DropOptions, Effect, Engine, FilterNames, Input, MILLISECOND, MapAnswer, MapQuery, Nanos,
    QueryId, Settings,
};
use crate::{
    cli::Proto,
    decode::{
        drop::{DropFacts, DropKind},
        event::Event,
        sighting::{AttemptKey, Part, Sighting},
    },
    kernel::clock,
    model::{
        AttemptReport, Direction, DropReport, Lost, More, Outcome, Place, Report, Summary, Tallies,
    },
    net::{Change, Interface, Link},
    node::query::{Answer, Query},
};

/// The default timeout.
pub(super) const TIMEOUT: Nanos = 1_000 * MILLISECOND;
/// When the first packet of a test is seen.
const START: Nanos = 10_000 * MILLISECOND;
const TICK: Nanos = 100 * MILLISECOND;
/// The host's namespace.
const HOST: u32 = 1;
/// Interfaces of it: a pod's veth and a NIC.
const VETH: u32 = 2;
const NIC: u32 = 3;
/// Initial sequence number of the client.
const ISN: u32 = 1_000;
/// Initial sequence number of the server.
const SERVER_ISN: u32 = 5_000_000;

pub(super) fn settings() -> Settings {
    Settings {
        drops: DropOptions {
            noise: false,
            stack: false,
            by_port_alone: false,
            limit: None,
            capacity: 4,
        },
        attempts: 1 << 10,
        timeout: TIMEOUT,
        names: FilterNames::of(None, None, Proto::Any),
        has_ends: true,
        blind_spots: Vec::new(),
        node: None,
        most_records: None,
        clock: clock::now(),
    }
}
