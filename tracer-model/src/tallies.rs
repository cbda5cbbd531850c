//! The kernel programs' counters.

/// The kernel's own counters of what it could not send or count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tallies {
    /// Matching drops that found the counting map full: known in number only.
    pub uncounted: u64,
    /// Events that found the ring buffer full.
    pub lost: u64,
    /// Packets that claimed to be IP and could not be parsed.
    pub malformed: u64,
    /// Runs that the kernel skipped, because the program was interrupted by itself. Whether those
    /// packets matched is not known.
    pub skipped: u64,
    /// Handshakes that were answered and acknowledged without an event.
    pub answered: u64,
}
