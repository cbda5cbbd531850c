//! The filters of tc at an interface as programs that packets pass.

use std::io;

use super::{Place, Program, Redirect};
use crate::{
    kernel::probes::{
        OUR_FILTER,
        query::{self, Direction},
    },
    net::{CLSACT_EGRESS, CLSACT_INGRESS, FilterActions, Rtnetlink, TcFilter},
};

const PARENTS: [(u32, Direction); 2] = [
    (CLSACT_INGRESS, Direction::Ingress),
    (CLSACT_EGRESS, Direction::Egress),
];

/// All of them, and the names of their programs.
pub(super) fn read(rtnetlink: &Rtnetlink, ifindex: u32) -> io::Result<Vec<Program>> {
    let qdiscs = rtnetlink.qdiscs(ifindex)?;
    let has = |kind| qdiscs.iter().any(|qdisc| qdisc.kind == kind);
    let at = |parent, place: Place| {
        let filters = rtnetlink.filters(ifindex, parent)?.into_iter();
        let programs = filters.filter_map(|filter| {
            let redirect = redirect(rtnetlink, filter.actions.unwrap_or_default());
            program(filter, &place, redirect)
        });
        io::Result::Ok(programs.collect::<Vec<_>>())
    };
    let mut found = Vec::new();
    for (parent, direction) in PARENTS {
        // The ingress qdisc answers for both, with what it has.
        if has("clsact") || (has("ingress") && direction == Direction::Ingress) {
            found.extend(at(parent, Place::Clsact(direction))?);
        }
    }
    let root = qdiscs
        .iter()
        .find(|qdisc| qdisc.parent.is_none() && qdisc.handle != 0);
    if let Some(root) = root {
        // Most kinds cannot have filters: the kernel reports an error.
        found.extend(at(root.handle, Place::Root).into_iter().flatten());
    }
    let ids: Vec<_> = found.iter().filter_map(|program| program.id).collect();
    for loaded in query::by_id(&ids) {
        let of_it = found
            .iter_mut()
            .filter(|program| program.id == Some(loaded.id));
        for program in of_it {
            program.name = Some(loaded.name.clone()).filter(|name| !name.is_empty());
        }
    }
    Ok(found)
}

/// Where a filter sends packets; `None` if it does not, or if that cannot be read.
fn redirect(rtnetlink: &Rtnetlink, actions: FilterActions) -> Option<Redirect> {
    let refused = actions.overlimits;
    // The kernel forgets an interface that goes.
    let link = match actions.redirect? {
        0 => None,
        ifindex => Some(rtnetlink.link(ifindex).ok()??),
    };
    Some(Redirect {
        is_up: link.as_ref().is_some_and(|link| link.up),
        to: link.map(|link| link.name),
        refused,
    })
}

/// `None` for our own, and for kinds of which it is not known what they do.
fn program(filter: TcFilter, place: &Place, redirect: Option<Redirect>) -> Option<Program> {
    if filter.name.as_deref() == Some(OUR_FILTER) {
        return None;
    }
    let actions = filter.actions?;
    Some(Program {
        place: place.clone(),
        name: None,
        id: filter.program,
        filter_id: Some(filter.id),
        links: Vec::new(),
        filter: Some(match filter.name {
            Some(name) => format!("{} {name}", filter.kind),
            None => filter.kind,
        }),
        action: actions.action,
        drops: actions.drops,
        redirect,
        is_left_behind: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{FilterAction, FilterId};

    fn bpf(name: &str, action: Option<FilterAction>) -> Option<Program> {
        let filter = TcFilter {
            id: FilterId {
                priority: 1,
                protocol: 3,
                handle: 1,
                is_direct: true,
            },
            kind: "bpf".to_owned(),
            name: Some(name.to_owned()),
            program: action.is_none().then_some(42),
            actions: Some(FilterActions {
                action,
                drops: None,
                ..FilterActions::default()
            }),
        };
        program(filter, &Place::Clsact(Direction::Ingress), None)
    }

    #[test]
    fn a_bpf_filter_is_a_program() {
        let found = bpf("drop_all", None).unwrap();
        assert_eq!(found.filter.as_deref(), Some("bpf drop_all"));
        assert_eq!((found.id, found.action), (Some(42), None));
        assert_eq!(bpf(OUR_FILTER, None), None);
    }

    #[test]
    fn a_classic_program_decides_itself() {
        let classic = bpf("48 0 0 23", Some(FilterAction::Classic)).unwrap();
        assert!(classic.may_drop());
        assert_eq!(
            classic.to_string(),
            "tc ingress: filter bpf 48 0 0 23, a classic BPF program that decides itself"
        );
    }
}
