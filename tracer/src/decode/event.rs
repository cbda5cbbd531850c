//! From the bytes of the ring buffer to one event.

use anyhow::{Context as _, Result};
use tracer_common::event::{self, RetransmitEvent};

use super::{
    connect::FailedConnect,
    drop::{Decoder, DropFacts},
    sighting::Sighting,
};

/// What the kernel programs have seen.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A packet was dropped. `count` is how many alike ones the kernel has counted by then.
    Drop { facts: Box<DropFacts>, count: u64 },
    /// A packet was seen at an interface.
    Sighting(Box<Sighting>),
    /// A TCP segment was sent again.
    Retransmit(RetransmitEvent),
    /// A connect failed before it sent a packet.
    Connect(FailedConnect),
}

impl Decoder {
    /// Decodes a record of the ring buffer; `None` if it is of no use to an attempt.
    ///
    /// # Errors
    ///
    /// The record is of a kind that the kernel programs do not send.
    pub(crate) fn decode(&self, record: &[u8]) -> Result<Option<Event>> {
        let event = event::Event::from_bytes(record)
            .context("the kernel programs sent an event of unknown kind")?;
        Ok(match event {
            event::Event::Drop(event) => Some(Event::Drop {
                facts: Box::new(self.event(&event)),
                count: event.count,
            }),
            event::Event::Sighting(event) => {
                Sighting::decode(&event).map(Box::new).map(Event::Sighting)
            }
            event::Event::Retransmit(event) => Some(Event::Retransmit(event)),
            event::Event::Connect(event) => Some(Event::Connect(FailedConnect::decode(&event))),
            // Not of a packet.
            event::Event::Release(_) | event::Event::Early(_) => None,
        })
    }
}
