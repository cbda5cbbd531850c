//! What this process may do.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::{Finding, State};
use crate::kernel::root;

/// Bit numbers of include/uapi/linux/capability.h.
const NET_ADMIN: u32 = 12;
const SYS_CHROOT: u32 = 18;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// What is known of this process.
#[derive(Debug, Clone, Copy)]
struct Process {
    /// The effective capabilities, a bit each; `None` without `/proc`.
    capabilities: Option<u64>,
    /// Whether they are those of a user namespace, and not of the node.
    is_in_user_namespace: bool,
    /// Whether the node's root is another one than this process's.
    is_in_container: bool,
}

/// Looks at this process.
pub(super) fn look() -> Vec<Finding> {
    // `PROC_USER_INIT_INO` of include/linux/proc_ns.h.
    const INITIAL: u64 = 0xeffffffd;
    let status = fs::read_to_string("/proc/self/status").ok();
    let namespace = fs::metadata("/proc/self/ns/user").map(|file| file.ino());
    findings(Process {
        capabilities: status.as_deref().and_then(effective),
        is_in_user_namespace: namespace.is_ok_and(|inode| inode != INITIAL),
        is_in_container: root::is_elsewhere(),
    })
}

fn effective(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let capabilities = lines.find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(capabilities.trim(), 16).ok()
}

fn findings(process: Process) -> Vec<Finding> {
    let Some(capabilities) = process.capabilities else {
        return vec![without_proc()];
    };
    let has = |bit: u32| capabilities >> bit & 1 == 1;
    let mut findings = vec![to_load(process, &has)];
    if findings[0].state != State::Present {
        return findings;
    }
    if !has(SYS_ADMIN) {
        findings.push(to_enter());
    }
    // What is left needs none of the three, if it has SYS_ADMIN: that loads programs, too.
    if !has(NET_ADMIN) {
        findings.push(missing(
            "rules",
            "without CAP_NET_ADMIN",
            "the kernel shows neither netfilter's rules nor conntrack's entries: a drop is reported without \
             the rule",
            "run as root, or with CAP_NET_ADMIN",
        ));
    }
    if !has(SYS_PTRACE) {
        findings.push(missing(
            "other processes",
            "without CAP_SYS_PTRACE",
            "namespaces without a name of their own, such as those of pods, are not found; in a container, \
             the node's own nft and iptables are not found either",
            "run as root, or with CAP_SYS_PTRACE",
        ));
    } else if process.is_in_container && !has(SYS_CHROOT) {
        findings.push(missing(
            "the node's tools",
            "without CAP_SYS_CHROOT",
            "nft and iptables are looked for in this container alone, and not on the node: without them, a \
             drop is reported without the rule",
            "run with CAP_SYS_CHROOT, or in an image with nft and iptables",
        ));
    }
    findings
}

fn to_load(process: Process, has: &impl Fn(u32) -> bool) -> Finding {
    let enough = has(SYS_ADMIN) || (has(BPF) && has(PERFMON) && has(NET_ADMIN));
    let missing: Vec<_> = [
        (BPF, "CAP_BPF"),
        (PERFMON, "CAP_PERFMON"),
        (NET_ADMIN, "CAP_NET_ADMIN"),
    ]
    .into_iter()
    .filter(|(bit, _)| !enough && !has(*bit))
    .map(|(_, name)| name)
    .collect();
    let (state, found, fix) = if process.is_in_user_namespace {
        (
            State::Required,
            "those of a user namespace, which do not count for loading programs".to_owned(),
            "run as root of the node itself: in a container, without userns-remap, rootless mode or \
             `hostUsers: false`",
        )
    } else {
        let found = match enough {
            true => "enough to load and attach kernel programs".to_owned(),
            false => format!("without {}", missing.join(", ")),
        };
        let state = if enough {
            State::Present
        } else {
            State::Required
        };
        (
            state,
            found,
            "run as root (sudo whydrop …); in a container, with CAP_BPF, CAP_PERFMON and \
             CAP_NET_ADMIN (or privileged) and the host's PID and network namespaces",
        )
    };
    Finding {
        name: "capabilities".to_owned(),
        state,
        found,
        cost: "no kernel program can be loaded",
        fix,
        hides: true,
    }
}

/// setns(2) wants it, whatever else there is.
fn to_enter() -> Finding {
    missing(
        "other namespaces",
        "without CAP_SYS_ADMIN",
        "network namespaces other than this one, such as those of pods, cannot be entered: their interfaces, \
         rules and listeners are not seen",
        "run as root, or with CAP_SYS_ADMIN",
    )
}

fn missing(name: &str, found: &str, cost: &'static str, fix: &'static str) -> Finding {
    Finding {
        name: name.to_owned(),
        state: State::Missing,
        found: found.to_owned(),
        cost,
        fix,
        hides: false,
    }
}

fn without_proc() -> Finding {
    Finding {
        name: "/proc".to_owned(),
        state: State::Required,
        found: "not mounted, or not readable".to_owned(),
        cost: "neither capabilities, nor namespaces, nor the kernel's symbols can be read",
        fix: "mount it: mount -t proc proc /proc",
        hides: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(capabilities: Option<u64>, is_in_user_namespace: bool) -> Vec<(String, State, String)> {
        of(Process {
            capabilities,
            is_in_user_namespace,
            is_in_container: true,
        })
    }

    fn of(process: Process) -> Vec<(String, State, String)> {
        let findings = findings(process).into_iter();
        findings
            .map(|finding| (finding.name, finding.state, finding.found))
            .collect()
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = (1 << 41) - 1;
        let [(_, State::Present, _)] = said(Some(all), false).as_slice() else {
            panic!("root may do everything");
        };
        let three = 1 << NET_ADMIN | 1 << PERFMON | 1 << BPF;
        let [
            (_, State::Present, _),
            (name, State::Missing, without),
            (_, State::Missing, processes),
        ] = &said(Some(three), false)[..]
        else {
            panic!("enough to load, not to enter");
        };
        assert_eq!(
            (name.as_str(), without.as_str()),
            ("other namespaces", "without CAP_SYS_ADMIN")
        );
        assert_eq!(processes, "without CAP_SYS_PTRACE");
        for (bit, name) in [
            (NET_ADMIN, "without CAP_NET_ADMIN"),
            (SYS_CHROOT, "without CAP_SYS_CHROOT"),
        ] {
            let [(_, State::Present, _), (_, State::Missing, without)] =
                &said(Some(all & !(1 << bit)), false)[..]
            else {
                panic!("{name}");
            };
            assert_eq!(without, name);
        }
        let [(_, State::Required, without)] = &said(Some(1 << BPF), false)[..] else {
            panic!("not enough");
        };
        assert_eq!(without, "without CAP_PERFMON, CAP_NET_ADMIN");
    }

    #[test]
    fn root_of_a_user_namespace_is_not_root() {
        let [(_, State::Required, found)] = &said(Some(u64::MAX), true)[..] else {
            panic!("nothing can be loaded");
        };
        assert!(found.contains("user namespace"), "{found}");
    }

    #[test]
    fn without_proc_nothing_is_known() {
        let [(name, State::Required, _)] = &said(None, false)[..] else {
            panic!("nothing is known");
        };
        assert_eq!(name, "/proc");
    }

    #[test]
    fn capabilities_are_read_from_the_status() {
        let status = "CapPrm:\t0000000000000001\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
