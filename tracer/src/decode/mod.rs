//! From the kernel's bytes to typed facts. Plain code, without I/O.

pub(crate) mod connect;
pub(crate) mod dns;
pub(crate) mod drop;
pub(crate) mod event;
pub(crate) mod noise;
pub(crate) mod sighting;
pub(crate) mod tls;
pub(crate) mod tracked;
pub(crate) mod untranslated;
