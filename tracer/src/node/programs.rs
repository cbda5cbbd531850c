//! The programs and filters that packets pass at an interface, and whose they are.
//!
//! Those of whydrop itself are left out.

mod cgroups;
mod filters;
mod owner;
mod removal;

use std::fmt;

use anyhow::Result;

pub(crate) use self::owner::Owner;
use crate::{
    kernel::probes::query::{self, Direction, LoadedProgram},
    net::{FilterAction, FilterId, Link, Rtnetlink, XdpMode, netns::Inside},
};

/// Where a program or filter sits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// XDP, before there is an skb, or just after.
    Xdp(XdpMode),
    /// TCX, at ingress or egress.
    Tcx(Direction),
    /// A filter of the clsact or ingress qdisc.
    Clsact(Direction),
    /// A filter of the qdisc at the root, which sorts packets into queues.
    Root,
    /// A control group, by its path.
    Cgroup(Direction, String),
    /// The connects of a control group, by its path.
    Connect(String),
}

/// A program, or a filter without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Where it sits.
    pub(crate) place: Place,
    /// The program's name, of which the kernel keeps 15 characters.
    pub(crate) name: Option<String>,
    /// The program's number.
    pub(crate) id: Option<u32>,
    /// Of a filter: its kind and name, such as `bpf cil_from_container-eth0`, or `flower`.
    pub(crate) filter: Option<String>,
    /// Of a filter: by what tc(8) finds it.
    pub(crate) filter_id: Option<FilterId>,
    /// The links by which the program is attached, here or elsewhere; none where it needs no link.
    pub(crate) links: Vec<u32>,
    /// Of a filter without a program: what it does.
    pub(crate) action: Option<FilterAction>,
    /// Packets that the filter's action dropped so far.
    pub(crate) drops: Option<u32>,
    /// Of a filter that sends packets to another interface: which one.
    pub(crate) redirect: Option<Redirect>,
    /// Its owner's agent does not run on this node.
    pub(crate) is_left_behind: bool,
}

/// The interface that a filter sends packets to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// Its name; `None` if it has gone: the filter keeps all packets then.
    pub(crate) to: Option<String>,
    /// It is up; while it is not, the filter drops them, too.
    pub(crate) is_up: bool,
    /// How often the filter could not send one.
    pub(crate) refused: u32,
}

impl Place {
    /// Whether packets that come in, or go out, meet it.
    pub(super) fn meets(&self, is_ingress: bool) -> bool {
        match self {
            Self::Xdp(_) => is_ingress,
            Self::Tcx(way) | Self::Clsact(way) => (*way == Direction::Ingress) == is_ingress,
            Self::Root => !is_ingress,
            Self::Cgroup(..) | Self::Connect(_) => false,
        }
    }
}

impl Program {
    /// Its owner, if that follows from the name.
    pub(crate) fn owner(&self) -> Option<Owner> {
        let names = [self.name.as_deref(), self.filter.as_deref()];
        names.into_iter().flatten().find_map(Owner::of)
    }

    /// Whether it could drop packets: filters that only sort or police say that they do.
    pub(crate) fn may_drop(&self) -> bool {
        self.id.is_some()
            || !matches!(self.action, None | Some(FilterAction::Other))
            || self.leads_nowhere().is_some()
    }

    /// The interface that it sends packets to, if that cannot take any.
    pub(crate) fn leads_nowhere(&self) -> Option<&Redirect> {
        self.redirect.as_ref().filter(|redirect| !redirect.is_up)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = |direction| match direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        match self {
            Self::Xdp(XdpMode::Native) => write!(f, "XDP"),
            Self::Xdp(XdpMode::Generic) => write!(f, "generic XDP"),
            Self::Xdp(XdpMode::Offloaded) => write!(f, "offloaded XDP"),
            Self::Tcx(way) => write!(f, "TCX {}", direction(*way)),
            Self::Clsact(way) => write!(f, "tc {}", direction(*way)),
            Self::Root => write!(f, "tc root"),
            Self::Cgroup(way, path) => write!(f, "cgroup {path} {}", direction(*way)),
            Self::Connect(path) => write!(f, "cgroup {path} connect"),
        }
    }
}

/// In words without an end.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.place)?;
        if let Some(filter) = &self.filter {
            write!(f, " filter {filter}")?;
        }
        match (&self.name, self.id) {
            (Some(name), Some(id)) => write!(f, " program {name} (id {id})")?,
            (None, Some(id)) => write!(f, " program {id}")?,
            _ => {}
        }
        match self.action {
            Some(FilterAction::Drop) => write!(f, " action drop")?,
            Some(FilterAction::Police) => write!(f, " action police")?,
            Some(FilterAction::Classic) => {
                write!(f, ", a classic BPF program that decides itself")?;
            }
            Some(FilterAction::Other) | None => {}
        }
        match &self.redirect {
            Some(Redirect { to: Some(name), .. }) => write!(f, " redirect to {name}")?,
            Some(_) => write!(f, " redirect to an interface that has gone")?,
            None => {}
        }
        if let Some(drops) = self.drops.filter(|drops| *drops > 0) {
            write!(f, ", {drops} dropped")?;
        }
        if let Some(owner) = self.owner() {
            write!(f, ", of {}", owner.name)?;
        }
        Ok(())
    }
}

/// Those at an interface: XDP, TCX, then filters, as packets meet them. What could not be read is
/// reported by sentences in `gaps`.
pub(super) fn at_interface(
    rtnetlink: &Rtnetlink,
    link: &Link,
    gaps: &mut Vec<String>,
) -> Vec<Program> {
    let mut found = Vec::new();
    let ids: Vec<_> = link.xdp.iter().map(|(_, id)| *id).collect();
    let loaded = query::by_id(&ids);
    for (mode, id) in &link.xdp {
        let program = loaded.iter().find(|program| program.id == *id);
        found.push(Program::of(Place::Xdp(*mode), *id, program));
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        match query::tcx(&link.name, direction) {
            Ok(programs) => {
                let programs = programs.unwrap_or_default().into_iter();
                found.extend(
                    programs.filter(|program| !program.is_ours).map(|program| {
                        Program::of(Place::Tcx(direction), program.id, Some(&program))
                    }),
                );
            }
            Err(error) => gaps.push(format!("TCX programs of {}: {error:#}", link.name)),
        }
    }
    match filters::read(rtnetlink, link.ifindex) {
        Ok(filters) => found.extend(filters),
        Err(error) => gaps.push(format!("tc filters of {}: {error:#}", link.name)),
    }
    let ids: Vec<_> = found.iter().filter_map(|program| program.id).collect();
    for (link, of) in query::links_of(&ids) {
        let theirs = found.iter_mut().filter(|program| program.id == Some(of));
        theirs.for_each(|program| program.links.push(link));
    }
    for program in &mut found {
        let owner = program.owner();
        program.is_left_behind = owner.is_some_and(|owner| owner.is_running() == Some(false));
    }
    found
}

/// Those that the sockets of a network namespace pass, by the control groups of its processes.
///
/// # Errors
///
/// The processes, or the programs of all their groups, cannot be seen.
pub(super) fn of_cgroups(inside: Inside) -> Result<Vec<Program>> {
    cgroups::read(inside)
}

/// Those that decide about the connects of a process. If it has ended, those that decide about any of its
/// network namespace.
///
/// # Errors
///
/// The processes, or the programs of all their groups, cannot be seen.
pub(super) fn of_connects(inside: Inside, pid: u32, is_ipv4: bool) -> Result<Vec<Program>> {
    cgroups::of_connects(inside, pid, is_ipv4)
}

impl Program {
    fn of(place: Place, id: u32, loaded: Option<&LoadedProgram>) -> Self {
        let name = loaded.map(|loaded| loaded.name.clone());
        Self {
            place,
            name: name.filter(|name| !name.is_empty()),
            id: Some(id),
            filter: None,
            filter_id: None,
            links: Vec::new(),
            action: None,
            drops: None,
            redirect: None,
            is_left_behind: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_reported_with_place_name_and_owner() {
        let mut program = Program {
            place: Place::Clsact(Direction::Ingress),
            name: Some("cil_from_contai".to_owned()),
            id: Some(42),
            filter: Some("bpf cil_from_container-eth0".to_owned()),
            filter_id: None,
            links: Vec::new(),
            action: None,
            drops: None,
            redirect: None,
            is_left_behind: false,
        };
        assert_eq!(
            program.to_string(),
            "tc ingress: filter bpf cil_from_container-eth0 program cil_from_contai (id 42), of \
             Cilium"
        );
        assert!(program.may_drop());
        program = Program {
            place: Place::Clsact(Direction::Egress),
            name: None,
            id: None,
            filter: Some("matchall".to_owned()),
            filter_id: None,
            links: Vec::new(),
            action: Some(FilterAction::Drop),
            drops: Some(3),
            redirect: None,
            is_left_behind: false,
        };
        assert_eq!(
            program.to_string(),
            "tc egress: filter matchall action drop, 3 dropped"
        );
        assert!(program.may_drop());
        program.action = Some(FilterAction::Other);
        assert!(!program.may_drop());
    }
}
