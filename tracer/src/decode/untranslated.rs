//! Segments of a connection that NAT translated, and which are not translated themselves.

use crate::model::Flow;

/// Such a segment, and the translation that the connection began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Untranslated {
    /// The inode number of the network namespace that translated the connection's SYN.
    pub(crate) netns: u32,
    /// The SYN in front of NAT.
    pub(crate) before: Flow,
    /// The SYN behind it.
    pub(crate) behind: Flow,
    /// The namespace that the client's SYN was first seen to leave, where its socket may be.
    pub(crate) client: Option<u32>,
    /// The client has sent the segment.
    pub(crate) by_client: bool,
    /// The segment, if one was seen without the translation.
    pub(crate) seen: Option<Flow>,
}
