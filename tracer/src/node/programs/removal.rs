//! How to take a program or filter away, and to put it back.

use super::{Place, Program};
use crate::{
    kernel::probes::query::Direction,
    model::{Fix, shell::Command},
    net::{FilterId, XdpMode},
};

/// A process that holds a link also keeps its program loaded.
const BY_ITS_OWNER: &str = "no undo: who attached it has to do so again";
/// The filter's rule is not read in full.
const NOTED_BEFORE: &str = "no undo but by what `tc filter show` says of it before";

/// Holds a program while it is attached nowhere: the kernel unloads those without a reference.
fn held(id: u32) -> String {
    format!("/sys/fs/bpf/held-{id}")
}

fn hold(id: u32) -> Command {
    Command::new("bpftool prog pin id").arg(id).arg(held(id))
}

fn release(id: u32) -> Command {
    Command::new("rm").arg(held(id))
}

impl Program {
    /// How it is taken from its interface. `None` where that cannot be said: it is a control
    /// group's, sorts packets into queues, or is attached by several links.
    pub(crate) fn removal(&self, ifname: &str) -> Option<Fix> {
        match (self.links.as_slice(), &self.place) {
            ([], Place::Xdp(mode)) => Some(unlinked_xdp(self.id?, *mode, ifname)),
            ([], Place::Clsact(direction)) => self.filter_removal(*direction, ifname),
            ([link], Place::Xdp(_) | Place::Tcx(_)) => {
                let detach = Command::new("bpftool link detach id").arg(link);
                Some(Fix::command(detach).noting(BY_ITS_OWNER))
            }
            _ => None,
        }
    }

    fn filter_removal(&self, direction: Direction, ifname: &str) -> Option<Fix> {
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
        let filter = |what| {
            let way = match direction {
                Direction::Ingress => "ingress",
                Direction::Egress => "egress",
            };
            Command::new("tc filter")
                .arg(what)
                .words("dev")
                .arg(ifname)
                .arg(way)
                .words("pref")
                .arg(priority)
                .words("handle")
                .arg(format!("{handle:#x}"))
        };
        let delete = filter("del").arg(kind);
        let Some(id) = self.id.filter(|_| is_direct) else {
            return Some(Fix::command(delete).noting(NOTED_BEFORE));
        };
        let add = filter("add")
            .words("protocol")
            .arg(ether_type(protocol))
            .words("bpf direct-action object-pinned")
            .arg(held(id));
        Some(Fix::change(hold(id).and(delete), add.and(release(id))))
    }
}

fn unlinked_xdp(id: u32, mode: XdpMode, ifname: &str) -> Fix {
    let kind = match mode {
        XdpMode::Native => "xdpdrv",
        XdpMode::Generic => "xdpgeneric",
        XdpMode::Offloaded => "xdpoffload",
    };
    let detach = Command::new("bpftool net detach")
        .arg(kind)
        .words("dev")
        .arg(ifname);
    let attach = Command::new("bpftool net attach")
        .arg(kind)
        .words("pinned")
        .arg(held(id))
        .words("dev")
        .arg(ifname);
    Fix::change(hold(id).and(detach), attach.and(release(id)))
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
            redirect: None,
            is_left_behind: false,
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
        let fix = xdp.removal("eth0").expect("a fix");
        assert_eq!(
            fix.line(),
            "bpftool prog pin id 42 /sys/fs/bpf/held-42 && bpftool net detach xdpgeneric dev eth0"
        );
        assert_eq!(
            fix.undo_line().as_deref(),
            Some(
                "bpftool net attach xdpgeneric pinned /sys/fs/bpf/held-42 dev eth0 && rm \
                 /sys/fs/bpf/held-42"
            )
        );
    }

    #[test]
    fn a_link_is_detached_for_good_and_only_the_right_one() {
        let tcx = |links| program(Place::Tcx(Direction::Egress), links).removal("eth0");
        let detach = tcx(&[7]).expect("a fix");
        assert_eq!(
            detach.line(),
            format!("bpftool link detach id 7  # {BY_ITS_OWNER}")
        );
        assert_eq!(detach.undo, None);
        assert_eq!(tcx(&[7, 8]), None);
        assert_eq!(tcx(&[]), None);
        let group = Place::Cgroup(Direction::Egress, "/x".to_owned());
        assert_eq!(program(group, &[7]).removal("eth0"), None);
    }

    #[test]
    fn a_filter_is_deleted_by_its_number_and_put_back_where_it_is_a_program() {
        let delete = "tc filter del dev eth0 ingress pref 4 handle 0x1";
        let fix = filter("bpf drop_all", Some(9))
            .removal("eth0")
            .expect("a fix");
        assert!(fix.line().ends_with(&format!("{delete} bpf")), "{fix:?}");
        assert!(
            fix.undo_line()
                .expect("an undo")
                .contains("protocol ip bpf direct-action object-pinned")
        );
        let flower = filter("flower", None).removal("eth0").expect("a fix");
        assert_eq!(flower.line(), format!("{delete} flower  # {NOTED_BEFORE}"));
        assert_eq!(filter("u32", None).removal("eth0"), None);
    }
}
