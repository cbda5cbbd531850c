//! The ends of the filter that go by name: what belongs to them now, and what has changed.

use std::collections::{BTreeSet, HashMap};

use tracer_common::filter::Member;

use super::effect::Effect;
use crate::{
    cli::{Proto, endpoint::Endpoint, filter},
    cluster::{
        live::Cluster,
        objects::{ObjectName, Pod},
        policy::Protocol,
        resolve::{Members, Resolved, Socket, no_such, no_such_workload, not_taken, resolve},
        update::Source,
        view::{Kind, View},
    },
};

/// How many addresses are listed where all would be too many to read.
const LISTED: usize = 4;

/// The ends of the filter that go by name.
#[derive(Debug)]
pub(crate) struct FilterNames {
    ends: Vec<End>,
    protocol: Option<Protocol>,
    /// Whether the trace has started: until then, an address is no news.
    started: bool,
}

#[derive(Debug)]
struct End {
    name: Endpoint,
    id: ObjectName,
    kind: Kind,
    side: u16,
    /// What it stands for, if the user has said so.
    given: BTreeSet<Socket>,
    resolved: Resolved,
    sockets: BTreeSet<Socket>,
    entries: HashMap<Member, u32>,
}

/// What has changed about the ends.
#[derive(Debug, Default)]
struct Changes {
    /// Entries that are new in the kernel's sets, or have another value.
    put: Vec<(Member, u32)>,
    /// Entries that are to go.
    gone: Vec<Member>,
    /// What the user should know, a sentence each.
    notes: Vec<String>,
}

impl FilterNames {
    /// Those among both ends of a filter that are names.
    pub(crate) fn of(to: Option<&Endpoint>, from: Option<&Endpoint>, proto: Proto) -> Self {
        let ends = [(Member::TO, to), (Member::FROM, from)];
        Self {
            ends: ends
                .into_iter()
                .filter_map(|(side, name)| End::new(side, name?))
                .collect(),
            protocol: match proto {
                Proto::Tcp => Some(Protocol::Tcp),
                Proto::Udp => Some(Protocol::Udp),
                Proto::Icmp | Proto::Any => None,
            },
            started: false,
        }
    }

    /// Takes what the ends stand for as given, where it is given, instead of looking it up.
    pub(crate) fn standing_for(mut self, to: &[Socket], from: &[Socket]) -> Self {
        for end in &mut self.ends {
            let given = if end.side == Member::TO { to } else { from };
            end.given = given.iter().copied().collect();
        }
        self
    }

    /// Looks all names up, and has the kernel's sets follow.
    pub(crate) fn follow(&mut self, cluster: &Cluster, effects: &mut Vec<Effect>) {
        let Changes { put, gone, notes } = self.look(cluster);
        if !put.is_empty() || !gone.is_empty() {
            effects.push(Effect::Members { put, gone });
        }
        if self.started {
            effects.extend(notes.into_iter().map(Effect::Note));
        }
    }

    fn look(&mut self, cluster: &Cluster) -> Changes {
        let mut changes = Changes::default();
        for end in &mut self.ends {
            end.look(cluster, self.protocol, &mut changes);
        }
        changes
    }

    /// Whether every name has all its addresses, as far as is known.
    pub(crate) fn is_resolved(&self) -> bool {
        let complete =
            |end: &End| matches!(&end.resolved, Resolved::Members(members) if members.complete);
        self.ends.iter().all(complete)
    }

    /// Starts to report changes. Returns what one should know of the names at the start, a
    /// sentence each.
    pub(super) fn start(&mut self) -> Vec<String> {
        self.started = true;
        let caveats = self.ends.iter().flat_map(|end| match &end.resolved {
            Resolved::Members(members) => members.notes.clone(),
            Resolved::Nowhere(what) => vec![format!("{what}: the filter follows once it has one")],
            Resolved::NoSuchPort(_) | Resolved::Unknown => Vec::new(),
        });
        caveats.collect()
    }

    /// The names, for reading.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.ends.iter().map(|end| end.name.to_string()).collect();
        names.join(" and ")
    }

    /// Where a name is, for reading; `None` if it is no name.
    pub(crate) fn whereabouts(&self, name: &Endpoint) -> Option<String> {
        let end = self.ends.iter().find(|end| end.name == *name)?;
        Some(match end.sockets.len() {
            0 => "no address yet".to_owned(),
            _ => list(&end.sockets),
        })
    }

    /// Why a trace cannot start: see [`super::Engine::refusal`].
    pub(crate) fn refusal(
        &self,
        cluster: &Cluster,
        started: &[Source],
        silent: &[Source],
    ) -> Option<String> {
        let mut ends = self.ends.iter();
        ends.find_map(|end| end.refusal(cluster, started, silent))
    }
}

impl End {
    fn new(side: u16, name: &Endpoint) -> Option<Self> {
        let (kind, id) = match name {
            Endpoint::Net { .. } | Endpoint::Port(_) => return None,
            Endpoint::Pod {
                namespace, name, ..
            } => (Kind::Pod, ObjectName::new(namespace, name)),
            Endpoint::Service {
                namespace, name, ..
            } => (Kind::Service, ObjectName::new(namespace, name)),
            Endpoint::Workload { workload, .. } => (Kind::Pod, workload.id.clone()),
        };
        Some(Self {
            name: name.clone(),
            id,
            kind,
            side,
            given: BTreeSet::new(),
            resolved: Resolved::Unknown,
            sockets: BTreeSet::new(),
            entries: HashMap::new(),
        })
    }

    fn look(&mut self, cluster: &Cluster, protocol: Option<Protocol>, changes: &mut Changes) {
        let resolved = match self.given.is_empty() {
            true => resolve(cluster.view(), &self.name, protocol),
            false => Resolved::Members(Members {
                sockets: self.given.clone(),
                notes: Vec::new(),
                complete: true,
            }),
        };
        let sockets = match &resolved {
            Resolved::Members(members) => members.sockets.clone(),
            // Packets to a pod that is gone are what such a trace is for.
            _ => match &self.name {
                Endpoint::Pod { .. } => not_taken(cluster, |pod| pod.id == self.id, &self.sockets),
                Endpoint::Workload { workload, .. } => {
                    let is_of_it = |pod: &Pod| pod.workload().as_ref() == Some(workload);
                    not_taken(cluster, is_of_it, &self.sockets)
                }
                _ => self.sockets.clone(),
            },
        };
        self.note(&resolved, &sockets, &mut changes.notes);
        self.resolved = resolved;
        if sockets == self.sockets {
            return;
        }
        self.sockets = sockets;
        let entries = filter::entries(self.side, &self.sockets);
        let put = entries.iter().map(|(member, ports)| (*member, *ports));
        let put = put.filter(|(member, ports)| self.entries.get(member) != Some(ports));
        changes.put.extend(put);
        let gone = self.entries.keys().copied();
        changes
            .gone
            .extend(gone.filter(|member| !entries.contains_key(member)));
        self.entries = entries;
    }

    fn note(&self, resolved: &Resolved, sockets: &BTreeSet<Socket>, notes: &mut Vec<String>) {
        let name = &self.name;
        let was_there = matches!(self.resolved, Resolved::Members(_));
        let what = match resolved {
            Resolved::Members(members) => {
                let known: &[String] = match &self.resolved {
                    Resolved::Members(before) => &before.notes,
                    _ => &[],
                };
                let new = members.notes.iter().filter(|note| !known.contains(note));
                notes.extend(new.cloned());
                if *sockets != self.sockets {
                    notes.push(self.moved(sockets));
                }
                return;
            }
            Resolved::Nowhere(what) | Resolved::NoSuchPort(what) => what.clone(),
            Resolved::Unknown => format!("{name} is gone"),
        };
        if was_there && !sockets.is_empty() {
            let last = list(sockets);
            notes.push(format!(
                "{what}; the filter keeps its last addresses: {last}"
            ));
        } else if !self.sockets.is_empty() && sockets.is_empty() {
            notes.push(format!(
                "{what}, and its addresses now belong to others: nothing matches"
            ));
        } else if *resolved != self.resolved && *resolved != Resolved::Unknown {
            notes.push(what);
        }
    }

    fn moved(&self, sockets: &BTreeSet<Socket>) -> String {
        let name = &self.name;
        let new: BTreeSet<_> = sockets.difference(&self.sockets).copied().collect();
        let gone: BTreeSet<_> = self.sockets.difference(sockets).copied().collect();
        if sockets.len() == new.len() {
            return format!("{name} is now {}", list(sockets));
        }
        match (new.is_empty(), gone.is_empty()) {
            (false, false) => format!(
                "{name} is now also {}, no longer {}",
                list(&new),
                list(&gone)
            ),
            (false, true) => format!("{name} is now also {}", list(&new)),
            _ => format!("{name} is no longer {}", list(&gone)),
        }
    }

    /// What the name is one of.
    fn what(&self) -> &'static str {
        match self.name {
            Endpoint::Service { .. } => "Service",
            Endpoint::Workload { .. } => "workload",
            _ => "pod",
        }
    }

    fn refusal(&self, cluster: &Cluster, started: &[Source], silent: &[Source]) -> Option<String> {
        let Self { name, kind, .. } = self;
        let view = cluster.view();
        let listed = |sources: &[Source]| {
            let names: Vec<_> = sources.iter().map(ToString::to_string).collect();
            names.join(" and ")
        };
        match &self.resolved {
            Resolved::Members(_) => None,
            Resolved::NoSuchPort(what) => Some(what.clone()),
            Resolved::Nowhere(_) if started.iter().any(|source| *source != Source::File) => None,
            Resolved::Nowhere(what) => Some(format!(
                "{what}, and {} cannot report a change",
                listed(started)
            )),
            Resolved::Unknown if started.is_empty() => Some(format!(
                "cannot look up {name} without a data source: give the cluster's objects in a file \
                 (--cluster FILE), a kubeconfig (--kubeconfig FILE) or the container runtime's \
                 socket (--cri-socket PATH); or give an address"
            )),
            Resolved::Unknown if !silent.is_empty() => Some(format!(
                "unknown {} {name}: {} did not answer; give an address, or the cluster's objects \
                 in a file (--cluster FILE)",
                self.what(),
                listed(silent)
            )),
            Resolved::Unknown if view.knows(*kind) => Some(self.no_such(view)),
            // The container runtime's, or what came before a source failed.
            Resolved::Unknown if *kind == Kind::Pod && view.pods().next().is_some() => {
                Some(format!(
                    "{}; but {} did not list all pods",
                    self.no_such(view),
                    listed(started)
                ))
            }
            Resolved::Unknown => Some(format!(
                "unknown {} {name}: {} listed no {}; give an address, or the cluster's \
                 objects in a file (--cluster FILE)",
                self.what(),
                listed(started),
                match kind {
                    Kind::Service => "Services",
                    _ => "pods",
                }
            )),
        }
    }

    fn no_such(&self, view: &View) -> String {
        match &self.name {
            Endpoint::Workload { workload, .. } => no_such_workload(view, workload),
            _ => no_such(view, self.kind, &self.id),
        }
    }
}

/// Some of the addresses, and how many more there are.
fn list(sockets: &BTreeSet<Socket>) -> String {
    let some: Vec<_> = sockets
        .iter()
        .take(LISTED)
        .map(ToString::to_string)
        .collect();
    let some = some.join(", ");
    match sockets.len().saturating_sub(LISTED) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
