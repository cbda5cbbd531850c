//! One scenario for each path from the kernel into whydrop: what can differ between kernels, in
//! minutes instead of hours.
//!
//! Such a path is a tracepoint, a hook's stack, a BTF type of a module, a tc probe's attachment, a
//! source of facts on the node. What only adds userspace code to one of these paths is left to the
//! whole run. So are, on kernels without TCX, sources of facts that have been alike on all kernels so
//! far: listeners by sock_diag (`listener`), the rules of iptables and the hooks of a bridge
//! (`netfilter`), BPF programs at interfaces (`verdict_host`). Among scenarios of one path, the quickest
//! is taken: each start of whydrop costs half a minute in an emulated machine.

use super::results::Results;

/// On kernels without TCX, where whydrop is loaded and attached otherwise than on the kernel of its
/// development.
const WITHOUT_TCX: [(&str, &[&str]); 8] = [
    // What is seen before NAT, and conntrack's BTF.
    ("attempts_nat", &["filter_on_the_service"]),
    // Retransmissions, and the clsact filters on all interfaces of the way.
    ("attempts_stalled", &["black_hole_elsewhere"]),
    // Drops, and their exact counts.
    ("counting", &["a_storm_of_drops"]),
    ("dns", &["two_clients_with_one_id"]),
    // Tracepoints in place of tc.
    ("interfaces", &["a_node_with_many_interfaces"]),
    // The filters that stay, which the next start removes.
    ("lifecycle", &["nothing_is_left_after_a_kill"]),
    // The hook by the stack, and the rule by its handle.
    ("verdict_firewall", &["nft_rule_with_its_handle"]),
    // Packets in tunnels, over IPv4 and IPv6.
    ("verdict_overlay", &["wrong_vni"]),
];

/// On kernels with TCX, which are like the kernel of its development, on which all scenarios run: what
/// else differs between kernels.
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
        _ => &WITHOUT_TCX,
    }
}

/// The tests of a module that are run on a kernel; `None` if there are none.
pub(super) fn of(module: &str, kernel: &str) -> Option<&'static [&'static str]> {
    let mut all = selected(kernel).iter();
    all.find(|(name, _)| *name == module)
        .map(|(_, tests)| *tests)
}

/// How many scenarios there are on kernels without TCX, and on those with it.
pub(super) fn count() -> [usize; 2] {
    [&WITHOUT_TCX[..], &WITH_TCX[..]].map(|all| all.iter().map(|(_, tests)| tests.len()).sum())
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
fn a_kernel_runs_what_its_version_is_for() {
    assert!(of("interfaces", "6.1.192").is_some());
    assert!(of("interfaces", "6.12.117").is_none());
    assert!(of("read_only", "6.1.192").is_none());
    assert!(of("read_only", "6.12.117").is_some());
    // The first of them.
    assert!(of("read_only", "6.6").is_some());
}
