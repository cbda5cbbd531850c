//! Connection attempts: sightings of one SYN (or DNS query) become one attempt with one fate.
//!
//! - [`sighting`]: what one packet at one interface says
//! - [`dns`]: the question and the code of a DNS message
//! - [`attempt`]: one attempt: its ladder of hops, there and back
//! - [`table`]: all of them, bounded, with their deadlines
//! - [`tls`]: the ClientHello and what came back
//! - [`ways`]: how many got through lately, by the way they went
//! - [`report`]: an attempt as a record
//!
//! Plain code without I/O. Time is the kernel's: nanoseconds of `CLOCK_MONOTONIC`.

pub mod attempt;
pub mod dns;
pub mod report;
pub mod sighting;
pub mod table;
pub mod tls;
pub mod ways;
