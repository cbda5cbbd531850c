//! How to take a program or filter away, and to put it back.

use super::{Place, Program, filters::FilterId};
use crate::{
    kernel::probes::query::Direction,
    node::{change::Change, change::quoted, link::XdpMode},
};

/// How a program or filter is taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// By a command that another one takes back.
    Change(Change),
    /// By a command that nobody but who attached it can take back; and what to know before.
    ForGood(String, &'static str),
}

/// Who attached a program by a link, has the program too.
const BY_ITS_OWNER: &str = "no undo: who attached it has to do so again";
/// The filter's rule is not read in full.
const NOTED_BEFORE: &str = "no undo but by what `tc filter show` says of it before";

/// Holds a program while it is attached nowhere: the kernel unloads those that nobody holds.
fn held(id: u32) -> String {
    format!("/sys/fs/bpf/held-{id}")
}

impl Program {
    /// How it is taken from its interface. `None` where that cannot be said: it is a control
    /// group's, sorts packets into queues, or is attached by several links.
    pub fn removal(&self, ifname: &str) -> Option<Removal> {
        let dev = quoted(ifname);
        match (self.links.as_slice(), &self.place) {
            ([], Place::Xdp(mode)) => Some(Removal::Change(unlinked_xdp(self.id?, *mode, &dev))),
            ([], Place::Clsact(direction)) => self.filter_removal(*direction, &dev),
            ([link], Place::Xdp(_) | Place::Tcx(_)) => Some(Removal::ForGood(
                format!("bpftool link detach id {link}"),
                BY_ITS_OWNER,
            )),
            _ => None,
        }
    }

    fn filter_removal(&self, direction: Direction, dev: &str) -> Option<Removal> {
        let FilterId {
            priority,
            protocol,
            handle,
            is_direct,
        } = self.filter_id?;
        let kind = self.filter.as_deref()?.split(' ').next()?;
        // Other kinds write their handles in ways of their own.
        if !matches!(kind, "bpf" | "flower" | "matchall" | "basic") {
            return None;
        }
        let way = match direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        let at = format!("dev {dev} {way} pref {priority} handle {handle:#x} {kind}");
        let delete = format!("tc filter del {at}");
        let Some(id) = self.id.filter(|_| is_direct) else {
            return Some(Removal::ForGood(delete, NOTED_BEFORE));
        };
        let (held, protocol) = (held(id), ether_type(protocol));
        Some(Removal::Change(Change {
            apply: format!("bpftool prog pin id {id} {held} && {delete}"),
            undo: format!(
                "tc filter add dev {dev} {way} pref {priority} handle {handle:#x} protocol \
                 {protocol} bpf direct-action object-pinned {held} && rm {held}"
            ),
        }))
    }
}

fn unlinked_xdp(id: u32, mode: XdpMode, dev: &str) -> Change {
    let kind = match mode {
        XdpMode::Native => "xdpdrv",
        XdpMode::Generic => "xdpgeneric",
        XdpMode::Offloaded => "xdpoffload",
    };
    let held = held(id);
    Change {
        apply: format!("bpftool prog pin id {id} {held} && bpftool net detach {kind} dev {dev}"),
        undo: format!("bpftool net attach {kind} pinned {held} dev {dev} && rm {held}"),
    }
}

/// As tc(8) takes it.
fn ether_type(protocol: u16) -> String {
    match protocol {
        3 => "all".to_owned(),
        0x0800 => "ip".to_owned(),
        0x86dd => "ipv6".to_owned(),
        other => format!("{other:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(place: Place, links: &[u32]) -> Program {
        Program {
            place,
            name: None,
            id: Some(42),
            filter: None,
            filter_id: None,
            links: links.to_vec(),
            action: None,
            drops: None,
        }
    }

    fn filter(filter: &str, id: Option<u32>) -> Program {
        Program {
            id,
            filter: Some(filter.to_owned()),
            filter_id: Some(FilterId {
                priority: 4,
                protocol: 0x0800,
                handle: 1,
                is_direct: true,
            }),
            ..program(Place::Clsact(Direction::Ingress), &[])
        }
    }

    #[test]
    fn an_xdp_program_is_held_while_it_is_away() {
        let xdp = program(Place::Xdp(XdpMode::Generic), &[]);
        let Some(Removal::Change(change)) = xdp.removal("eth0") else {
            panic!("a change");
        };
        assert_eq!(
            change.apply,
            "bpftool prog pin id 42 /sys/fs/bpf/held-42 && bpftool net detach xdpgeneric dev eth0"
        );
        assert!(
            change
                .undo
                .starts_with("bpftool net attach xdpgeneric pinned /sys/fs/bpf/held-42")
        );
    }

    #[test]
    fn a_link_is_detached_for_good_and_only_the_right_one() {
        let tcx = |links| program(Place::Tcx(Direction::Egress), links).removal("eth0");
        let detach = "bpftool link detach id 7".to_owned();
        assert_eq!(tcx(&[7]), Some(Removal::ForGood(detach, BY_ITS_OWNER)));
        assert_eq!(tcx(&[7, 8]), None);
        assert_eq!(tcx(&[]), None);
        let group = Place::Cgroup(Direction::Egress, "/x".to_owned());
        assert_eq!(program(group, &[7]).removal("eth0"), None);
    }

    #[test]
    fn a_filter_is_deleted_by_its_number_and_put_back_where_it_is_a_program() {
        let delete = "tc filter del dev eth0 ingress pref 4 handle 0x1";
        let Some(Removal::Change(change)) = filter("bpf drop_all", Some(9)).removal("eth0") else {
            panic!("a change");
        };
        assert!(
            change.apply.ends_with(&format!("{delete} bpf")),
            "{change:?}"
        );
        assert!(
            change
                .undo
                .contains("protocol ip bpf direct-action object-pinned")
        );
        let flower = filter("flower", None).removal("eth0");
        let delete = format!("{delete} flower");
        assert_eq!(flower, Some(Removal::ForGood(delete, NOTED_BEFORE)));
        assert_eq!(filter("u32", None).removal("eth0"), None);
    }
}
