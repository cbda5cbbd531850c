//! What the machines do not run, because other scenarios already cover what it needs of the kernel.

/// Scenarios that take a container runtime: more memory than all else in the machine together.
const CONTAINERD: (&str, [&str; 3]) = (
    "cluster_cri",
    [
        "a_filter_by_name_follows_the_name",
        "a_pod_that_comes_later_has_its_name_and_one_that_is_gone_gives_it_up",
        "drops_to_and_from_a_pod_carry_its_name",
    ],
);

/// Whether a test of a module is left out.
pub(super) fn has(module: &str, test: &str) -> bool {
    let (name, tests) = CONTAINERD;
    name == module && tests.contains(&test)
}

/// The sentence of the page.
pub(super) fn sentence() -> String {
    let (name, tests) = CONTAINERD;
    format!(
        "{} scenarios of `{name}` are left out: they start containerd and real pods, and need nothing \
         of the kernel that the others do not cover.",
        tests.len()
    )
}
