//! The updates that all sources of cluster knowledge send.
//!
//! A source first sends all objects of a kind ([`Change::All`]), then single objects as they come
//! and go. An error is sent once, as a [`Change::Note`]: the failure of a source does not remove what
//! was known before.

use std::{fmt, net::IpAddr};

use super::{
    foreign::ForeignKind,
    objects::{Labels, ObjectName},
    unreadable::UnreadableName,
    view::{Kind, Object, Parts, View},
    workload::Workload,
};

/// Where knowledge of the cluster comes from. A later one in this list takes precedence: the API server knows all of
/// a pod, the container runtime only what runs on this node, a file only what once was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// Files of `--cluster`.
    File,
    /// The container runtime of this node.
    Cri,
    /// The API server.
    Api,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the files of --cluster",
            Self::Cri => "the container runtime",
            Self::Api => "the API server",
        })
    }
}

/// A change, and its source.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    /// Where it comes from.
    pub(crate) source: Source,
    /// The change.
    pub(crate) change: Change,
}

/// What has changed.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// All objects of a kind that the source has; others of that kind it had before are gone.
    All(Kind, Vec<Object>),
    /// Only objects of a kind that run on this node: the kind is not known in whole by them.
    AllHere(Kind, Vec<Object>),
    /// An object that is new, or is another than before.
    Put(Box<Object>),
    /// An object that is gone.
    Gone(Kind, ObjectName),
    /// An object that exists and cannot be read, and those of its addresses that can.
    Unreadable(Kind, UnreadableName, Vec<IpAddr>),
    /// There are more objects of a kind than are kept: what is not here may exist.
    Incomplete(Kind),
    /// By which labels a workload selects its pods.
    Workload(Workload, Labels),
    /// Objects of a kind that also decides about traffic, and is not judged here.
    ForeignPolicies(ForeignKind, usize),
    /// What could not be read, and how to fix that: one sentence, shown once to the user.
    Note(String),
    /// The source has sent all that it has for now, or has given up: a lookup of a name need not
    /// wait for this source any longer. Changes may follow.
    Settled,
}

impl Change {
    /// All that a view holds.
    pub(crate) fn all_of(view: View) -> impl Iterator<Item = Self> {
        let Parts {
            objects,
            unreadable,
            workload_labels,
            foreign,
        } = view.into_parts();
        objects
            .into_iter()
            .map(|(kind, objects)| Self::All(kind, objects))
            .chain(
                unreadable
                    .into_objects()
                    .map(|(kind, id, ips)| Self::Unreadable(kind, id, ips)),
            )
            .chain(
                workload_labels
                    .into_iter()
                    .map(|(workload, labels)| Self::Workload(workload, labels)),
            )
            .chain(
                foreign
                    .into_iter()
                    .map(|(kind, count)| Self::ForeignPolicies(kind, count)),
            )
    }
}
