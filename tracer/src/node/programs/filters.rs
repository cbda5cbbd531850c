//! The filters of tc at an interface (`RTM_GETTFILTER`).

use anyhow::Result;

use super::{Action, Place, Program};
use crate::{
    kernel::probes::query::{self, Direction},
    node::{
        qdisc::{self, FIXED},
        rtnetlink::{Attributes, Message, Rtnetlink, u32_at},
    },
};

/// Numbers of include/uapi/linux/{rtnetlink,pkt_cls,gen_stats}.h and
/// include/uapi/linux/tc_act/{tc_gact,tc_police}.h.
mod tca {
    pub(super) const KIND: u16 = 1;
    pub(super) const OPTIONS: u16 = 2;
    pub(super) const BPF_NAME: u16 = 7;
    pub(super) const BPF_FLAGS: u16 = 8;
    /// `TCA_BPF_FLAG_ACT_DIRECT`: what the program returns is the verdict.
    pub(super) const BPF_DIRECT: u32 = 1;
    pub(super) const BPF_ID: u16 = 11;
    pub(super) const ACT_KIND: u16 = 1;
    pub(super) const ACT_OPTIONS: u16 = 2;
    pub(super) const ACT_STATS: u16 = 4;
    pub(super) const STATS_QUEUE: u16 = 3;
    /// `TCA_GACT_PARMS`, after which `tc_gact` has the action as its third number.
    pub(super) const GACT_PARMS: u16 = 2;
    pub(super) const SHOT: u32 = 2;
}

/// By what tc(8) finds a filter at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterId {
    /// Its priority (`pref`).
    pub priority: u16,
    /// The EtherType of the packets that it sees, in host byte order; 3 (`ETH_P_ALL`) for all.
    pub protocol: u16,
    /// Its number among those of its priority.
    pub handle: u32,
    /// Whether what a program of BPF returns is the verdict.
    pub is_direct: bool,
}

/// The name of our own filters, see the classifiers' clsact.
const OURS: &str = "whydrop";
/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`.
const PARENTS: [(u32, Direction); 2] = [
    (0xffff_fff2, Direction::Ingress),
    (0xffff_fff3, Direction::Egress),
];

/// All of them, and the names of their programs.
pub(super) fn read(rtnetlink: &Rtnetlink, ifindex: u32) -> Result<Vec<Program>> {
    let qdiscs = qdisc::read(rtnetlink, ifindex)?;
    let has = |kind| qdiscs.iter().any(|qdisc| qdisc.kind == kind);
    let mut found = Vec::new();
    for (parent, direction) in PARENTS {
        // The ingress qdisc answers for both, with what it has.
        if has("clsact") || (has("ingress") && direction == Direction::Ingress) {
            found.extend(at(rtnetlink, ifindex, parent, &Place::Clsact(direction))?);
        }
    }
    let root = qdiscs
        .iter()
        .find(|qdisc| qdisc.parent.is_none() && qdisc.handle != 0);
    if let Some(root) = root {
        // Most kinds cannot have filters, and say so.
        let filters = at(rtnetlink, ifindex, root.handle, &Place::Root);
        found.extend(filters.unwrap_or_default());
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

fn at(rtnetlink: &Rtnetlink, ifindex: u32, parent: u32, place: &Place) -> Result<Vec<Program>> {
    let mut fixed = [0; FIXED];
    fixed[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    fixed[12..16].copy_from_slice(&parent.to_ne_bytes());
    let question = Message::new(libc::RTM_GETTFILTER, &fixed);
    rtnetlink.list(&question, |message| filter(message, place))
}

fn filter(message: &Message, place: &Place) -> Option<Program> {
    let all = message.attributes(FIXED);
    let kind = all.text(tca::KIND)?;
    // Each priority is told once more by itself, without a handle; u32 also tells its hash tables,
    // whose handles have no number of a filter.
    let handle = message.u32_at(8)?;
    if (handle == 0 && kind != "cgroup") || (kind == "u32" && handle & 0xfff == 0) {
        return None;
    }
    let options = all.inside(tca::OPTIONS);
    let is_bpf = kind == "bpf";
    let name = options.text(tca::BPF_NAME).filter(|_| is_bpf);
    if name.as_deref() == Some(OURS) {
        return None;
    }
    let (mut action, drops) = actions(options.inside(actions_of(&kind)?));
    let id = options.u32(tca::BPF_ID).filter(|_| is_bpf);
    let is_direct = options
        .u32(tca::BPF_FLAGS)
        .is_some_and(|flags| flags & tca::BPF_DIRECT != 0);
    if is_bpf && is_direct && id.is_none() {
        action = Some(Action::Classic);
    }
    // The upper half is the priority, the lower one the protocol in network byte order
    // (`TC_H_MAKE()` of tc_fill_node in net/sched/cls_api.c).
    let info = message.u32_at(16)?;
    Some(Program {
        place: place.clone(),
        name: None,
        id,
        filter_id: Some(FilterId {
            priority: (info >> 16) as u16,
            protocol: u16::from_be(info as u16),
            handle,
            is_direct,
        }),
        links: Vec::new(),
        filter: Some(match name {
            Some(name) => format!("{kind} {name}"),
            None => kind,
        }),
        action,
        drops,
    })
}

/// The number of the attribute with the actions, which each kind has at another place. Of unknown
/// kinds nothing is said.
fn actions_of(kind: &str) -> Option<u16> {
    Some(match kind {
        "bpf" | "cgroup" => 1,
        "matchall" => 2,
        "flower" | "basic" => 3,
        "fw" => 4,
        "route" => 6,
        "u32" => 7,
        "flow" => 9,
        _ => return None,
    })
}

/// The action that matters most, and how many packets the actions have dropped.
fn actions(all: Attributes<'_>) -> (Option<Action>, Option<u32>) {
    let mut found = None;
    let mut dropped = None;
    for (_, bytes) in all.iter() {
        let one = Attributes(bytes);
        let options = one.inside(tca::ACT_OPTIONS);
        let action = match one.text(tca::ACT_KIND).as_deref() {
            Some("gact") => {
                let parameters = options.get(tca::GACT_PARMS).unwrap_or_default();
                match u32_at(parameters, 8) {
                    Some(tca::SHOT) => Action::Drop,
                    _ => Action::Other,
                }
            }
            Some("police") => Action::Police,
            Some(_) => Action::Other,
            None => continue,
        };
        if !matches!(found, Some(Action::Drop)) {
            found = Some(action)
                .filter(|_| found.is_none() || action != Action::Other)
                .or(found);
        }
        // `struct gnet_stats_queue`: the third number is `drops`.
        let queue = one.inside(tca::ACT_STATS).get(tca::STATS_QUEUE);
        if let Some(drops) = queue.and_then(|queue| u32_at(queue, 8)) {
            dropped = Some(dropped.unwrap_or(0) + drops);
        }
    }
    (found, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(handle: u8, kind: &str, options: &Message) -> Message {
        let mut fixed = [0; FIXED];
        fixed[8] = handle;
        Message::new(libc::RTM_NEWTFILTER, &fixed)
            .with(tca::KIND, format!("{kind}\0").as_bytes())
            .with(tca::OPTIONS, &options.bytes)
    }

    fn place() -> Place {
        Place::Clsact(Direction::Ingress)
    }

    #[test]
    fn a_bpf_filter_is_a_program() {
        let named = |name: &str| {
            let options = Message::new(0, &[])
                .with(tca::BPF_NAME, format!("{name}\0").as_bytes())
                .with_u32(tca::BPF_ID, Some(42));
            filter(&message(1, "bpf", &options), &place())
        };
        let found = named("drop_all").unwrap();
        assert_eq!(found.filter.as_deref(), Some("bpf drop_all"));
        assert_eq!((found.id, found.action), (Some(42), None));
        assert_eq!(named(OURS), None);
        let head = message(0, "bpf", &Message::new(0, &[]));
        assert_eq!(filter(&head, &place()), None);
    }

    #[test]
    fn a_classic_program_decides_itself() {
        let with = |flags| {
            let options = Message::new(0, &[])
                .with(tca::BPF_NAME, b"48 0 0 23\0")
                .with_u32(tca::BPF_FLAGS, Some(flags));
            filter(&message(1, "bpf", &options), &place()).unwrap()
        };
        let direct = with(tca::BPF_DIRECT);
        assert!(direct.may_drop());
        assert_eq!(
            direct.to_string(),
            "tc ingress: filter bpf 48 0 0 23, a classic BPF program that decides itself"
        );
        assert!(!with(0).may_drop());
    }

    #[test]
    fn a_dropping_action_is_found_among_others() {
        let action = |kind: &str, verdict: u32| {
            let parameters: Vec<_> = [1, 0, verdict, 1, 1]
                .into_iter()
                .flat_map(u32::to_ne_bytes)
                .collect();
            let options = Message::new(0, &[]).with(tca::GACT_PARMS, &parameters);
            let queue: Vec<_> = [0, 0, 3, 0, 0]
                .into_iter()
                .flat_map(u32::to_ne_bytes)
                .collect();
            let stats = Message::new(0, &[]).with(tca::STATS_QUEUE, &queue);
            Message::new(0, &[])
                .with(tca::ACT_KIND, format!("{kind}\0").as_bytes())
                .with(tca::ACT_OPTIONS, &options.bytes)
                .with(tca::ACT_STATS, &stats.bytes)
        };
        let both = Message::new(0, &[])
            .with(1, &action("gact", tca::SHOT).bytes)
            .with(2, &action("mirred", 0).bytes);
        let options = Message::new(0, &[]).with(2, &both.bytes);
        let found = filter(&message(1, "matchall", &options), &place()).unwrap();
        assert_eq!((found.action, found.drops), (Some(Action::Drop), Some(6)));
        let police = Message::new(0, &[]).with(1, &action("police", 0).bytes);
        assert_eq!(actions(Attributes(&police.bytes)).0, Some(Action::Police));
        let pass = Message::new(0, &[]).with(1, &action("gact", 0).bytes);
        assert_eq!(actions(Attributes(&pass.bytes)).0, Some(Action::Other));
    }
}
