//! From the kernel's bytes to typed facts. Plain code, without I/O.

pub mod dns;
pub mod drop;
pub(crate) mod event;
pub mod noise;
pub mod sighting;
pub mod tls;
pub mod tracked;
