//! A BPF program, or a filter of tc, dropped it.

use super::{Concern, Finding, function, place};
use crate::{
    decode::drop::DropFacts,
    kernel::probes::query::Direction,
    model::{Confidence::Confirmed, Fix, Point},
    net::FilterAction,
    node::{
        facts::NodeFacts,
        programs::{Place, Program},
    },
};

/// What kind of program it was, as the reason says.
fn kind(facts: &DropFacts) -> Option<&'static str> {
    match (facts.reason.name(), function(facts)) {
        ("TC_INGRESS", _) => Some("a tc program or filter at ingress"),
        ("TC_EGRESS", _) => Some("a tc program or filter at egress"),
        ("BPF_CGROUP_EGRESS", _) => Some("a cgroup program at egress"),
        ("SOCKET_FILTER", _) => Some("a socket filter or a cgroup program at ingress"),
        ("TC_CHAIN_NOTFOUND", _) => Some("a tc filter that leads to a chain which does not exist"),
        ("TC_RECLASSIFY_LOOP", _) => Some("tc filters that send packets around in a loop"),
        ("TC_COOKIE_ERROR", _) => Some("a tc filter whose action does not exist any more"),
        ("TAP_FILTER", _) => Some("the BPF filter of a tun or tap device"),
        ("TAP_TXFILTER", _) => {
            Some("the transmit filter of a tap device, which passes chosen MAC addresses only,")
        }
        ("XDP", _) | (_, "do_xdp_generic" | "veth_xdp_rcv_skb" | "veth_xdp_rcv_one") => {
            Some("an XDP program")
        }
        _ => None,
    }
}

fn is_of_cgroup(facts: &DropFacts) -> bool {
    matches!(facts.reason.name(), "BPF_CGROUP_EGRESS" | "SOCKET_FILTER")
}

pub(super) fn is_of_interface(facts: &DropFacts) -> Concern {
    Concern::surely(kind(facts).is_some() && !is_of_cgroup(facts))
}

pub(super) fn is_of_process(facts: &DropFacts) -> Concern {
    Concern::surely(is_of_cgroup(facts))
}

/// The reason says what kind of program it was; what is attached there, which one.
pub(super) fn bpf_program(facts: &DropFacts, node: &NodeFacts) -> Option<Finding> {
    let program = kind(facts)?;
    let programs = droppers(facts, node);
    let owner = match programs.as_slice() {
        [only] => only.owner(),
        _ => None,
    };
    let point = match owner {
        Some(owner) if owner.is_policy_engine => Point::Policy,
        _ => Point::Firewall,
    };
    let whose = owner
        .map(|owner| format!(" of {}", owner.name))
        .unwrap_or_default();
    let why = match programs.as_slice() {
        [only] if only.action == Some(FilterAction::Police) => format!(
            "a rate limit of tc (action police) dropped it{}: more came than it lets through",
            place(facts)
        ),
        _ => format!("{program}{whose} dropped it{}", place(facts)),
    };
    let mut finding = Finding::new(point, Confirmed, why).about(&[&program, &whose, &place(facts)]);
    let attached = programs
        .iter()
        .map(|program| format!("attached there: {program}"));
    finding.evidence.extend(attached);
    if let [only] = programs.as_slice() {
        finding.why += &left_behind(only);
        let ifname = facts.ifname.as_deref();
        finding
            .fix
            .extend(ifname.and_then(|ifname| removal(only, ifname)));
    }
    Some(finding)
}

/// That no one enforces anything by the program any more, as the end of a sentence.
pub(super) fn left_behind(program: &Program) -> String {
    let owner = program.owner().filter(|_| program.is_left_behind);
    owner.map_or_else(String::new, |owner| {
        format!(", and no agent of {} runs on this node", owner.name)
    })
}

/// How to remove the one program that is left. One that an agent manages would come back: there, the
/// agent has to be configured.
pub(super) fn removal(program: &Program, ifname: &str) -> Option<Fix> {
    if let Some(owner) = program.owner().filter(|_| !program.is_left_behind) {
        let rules = if owner.is_policy_engine {
            "policies"
        } else {
            "settings"
        };
        return Some(Fix::advice(format!(
            "change the {rules} that {} enforces: its program, detached by hand, would come back",
            owner.name
        )));
    }
    program.removal(ifname)
}

/// The programs at the place that the reason names.
pub(super) fn droppers<'a>(facts: &DropFacts, node: &'a NodeFacts) -> Vec<&'a Program> {
    let is_there = |program: &&Program| match (&program.place, facts.reason.name()) {
        (Place::Tcx(direction) | Place::Clsact(direction), "TC_INGRESS") => {
            *direction == Direction::Ingress
        }
        (Place::Tcx(direction) | Place::Clsact(direction), "TC_EGRESS") => {
            *direction == Direction::Egress
        }
        (_, reason) if reason.starts_with("TC_") || reason.starts_with("TAP_") => false,
        (Place::Xdp(_), _) => true,
        _ => false,
    };
    let around = &node.around;
    let at_interface = around.programs.iter().filter(is_there);
    let of_cgroups = around.cgroup_programs.iter();
    at_interface
        .chain(of_cgroups)
        .filter(|program| program.may_drop())
        .collect()
}
