//! One scenario for each path from the kernel into whydrop: what can differ between kernels, in
//! minutes instead of hours.
//!
//! Such a path is a tracepoint, a hook's stack, a BTF type of a module, a tc probe's attachment, a
//! source of facts on the node. What only adds userspace code to one of these paths is left to the
//! whole run: DNS (the tc probes), a rule of nftables in FORWARD (`verdict_firewall`), a missing route
//! (`verdict_path`), a closed port (`attempts_nat`), VXLAN without a drop (`verdict_overlay`).

use super::results::Results;

const QUICK: [(&str, &[&str]); 14] = [
    ("attempts_nat", &["filter_on_the_service"]),
    ("attempts_stalled", &["black_hole_elsewhere"]),
    ("counting", &["a_storm_of_drops"]),
    ("lifecycle", &["nothing_is_left_after_a_kill"]),
    ("interfaces", &["a_node_with_many_interfaces"]),
    ("listener", &["accept_queue_full"]),
    ("netfilter", &["iptables_forward", "nft_bridge_forward"]),
    ("read_only", &["asking_changes_nothing"]),
    ("silence", &["two_hundred_healthy_connections"]),
    ("verdict_firewall", &["nft_rule_with_its_handle"]),
    (
        "verdict_host",
        &[
            "programs::tc_program_at_ingress",
            "programs::xdp_program_in_the_driver",
        ],
    ),
    ("verdict_mtu", &["router_takes_less"]),
    ("verdict_overlay", &["wrong_vni"]),
    ("verdict_path", &["dead_neighbor_of_a_router"]),
];

/// Of these, the ones that are run on kernels with TCX, too: there, whydrop is loaded and attached as on
/// the kernel of its development, on which all scenarios run.
const WITH_TCX: [(&str, &[&str]); 6] = [
    ("attempts_nat", &["filter_on_the_service"]),
    ("counting", &["a_storm_of_drops"]),
    ("lifecycle", &["nothing_is_left_after_a_kill"]),
    ("netfilter", &["iptables_forward"]),
    ("read_only", &["asking_changes_nothing"]),
    ("verdict_host", &["programs::xdp_program_in_the_driver"]),
];

/// The first kernel with TCX.
const TCX: (u32, u32) = (6, 6);

/// What is run on a kernel, by its version.
fn selected(kernel: &str) -> &'static [(&'static str, &'static [&'static str])] {
    let mut numbers = kernel.split('.').map_while(|number| number.parse().ok());
    match numbers.next().zip(numbers.next()) {
        Some(version) if version >= TCX => &WITH_TCX,
        _ => &QUICK,
    }
}

/// The tests of a module that are run on a kernel; `None` if there are none.
pub(super) fn of(module: &str, kernel: &str) -> Option<&'static [&'static str]> {
    let mut all = selected(kernel).iter();
    all.find(|(name, _)| *name == module)
        .map(|(_, tests)| *tests)
}

/// How many tests there are at most, and on kernels with TCX.
pub(super) fn count() -> [usize; 2] {
    [&QUICK[..], &WITH_TCX[..]].map(|all| all.iter().map(|(_, tests)| tests.len()).sum())
}

/// A test that did not run, because it has another name by now, is no success.
pub(super) fn require_all(kernel: &str, results: &mut Results) {
    for (module, tests) in selected(kernel) {
        for test in *tests {
            if results.of(&format!("{module}::{test}")).is_none() {
                results.add_problem(format!("did not run {module}::{test}"));
            }
        }
    }
}

#[test]
fn kernels_with_tcx_run_a_part() {
    assert!(of("silence", "6.1.192").is_some());
    assert!(of("silence", "6.12.117").is_none());
    let is_part = |(module, tests): &(&str, &[&str])| {
        let all = of(module, "6.1.192").unwrap_or_default();
        tests.iter().all(|test| all.contains(test))
    };
    assert!(WITH_TCX.iter().all(is_part));
}
