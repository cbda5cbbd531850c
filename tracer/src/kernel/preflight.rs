//! What this kernel and this process can and cannot do.
//!
//! A required fact that is missing stops a trace, with its remedy. An optional one that is missing
//! costs something, which is said.

mod lockdown;
mod privileges;
mod programs;

use std::{ffi::CStr, fs};

use serde::Serialize;

use super::{btf::KernelBtf, budget::Memory, probes::Skipped, reasons::Reasons};
use crate::net::Subsystem;

/// One fact that was looked for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// What was looked for.
    pub(crate) name: String,
    /// What was found.
    pub(crate) state: State,
    /// The figure or detail behind it.
    pub(crate) found: String,
    /// What its absence costs.
    pub(crate) cost: &'static str,
    /// How to get it.
    pub(crate) fix: &'static str,
    /// Whether packets go unseen without it, so that silence proves nothing. Otherwise only less is
    /// said of them.
    #[serde(skip)]
    pub(crate) hides: bool,
}

impl Finding {
    fn sentence(&self) -> String {
        format!("{} ({}: {})", self.cost, self.name, self.found)
    }
}

/// How a fact stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It is there.
    Present,
    /// It is missing, and whydrop works without it.
    Missing,
    /// It is missing, and nothing works without it.
    Required,
    /// It is not there, and need not be.
    Unused,
}

/// Everything that was looked for.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Preflight {
    /// The running kernel's release.
    pub(crate) kernel: String,
    /// The facts, in the order in which they matter.
    pub(crate) findings: Vec<Finding>,
}

impl Preflight {
    /// Looks. `btf` is what reading the kernel's BTF gave.
    pub(crate) fn look(btf: &anyhow::Result<KernelBtf>) -> Self {
        let mut findings = privileges::look();
        findings.extend(lockdown::look());
        findings.push(of_btf(btf));
        if let Ok(btf) = btf {
            findings.extend([
                ring_buffer(btf),
                reasons(btf),
                tunnel_reasons(btf),
                conntrack(btf),
            ]);
            findings.extend(programs::hooks(btf));
        }
        findings.extend([symbols(), listeners(), memory(Memory::here())]);
        Self {
            kernel: kernel_release(),
            findings,
        }
    }

    /// Has the kernel verify the programs, and attaches none: only then it is known which it takes.
    #[must_use]
    pub(crate) fn trial(mut self, btf: &KernelBtf) -> Self {
        match programs::trial(btf) {
            Ok(skipped) => self.without(&skipped),
            Err(error) => {
                self.findings.push(programs::refused(&error));
                self
            }
        }
    }

    /// Takes what the kernel did not take when it was tried.
    #[must_use]
    pub(crate) fn without(mut self, skipped: &[Skipped]) -> Self {
        for skipped in skipped {
            programs::skip(&mut self.findings, skipped);
        }
        self
    }

    /// The first fact without which nothing works.
    pub(crate) fn blocker(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.state == State::Required)
    }

    /// What cannot be shown, a sentence each.
    pub(crate) fn degraded(&self) -> Vec<String> {
        self.missing().map(Finding::sentence).collect()
    }

    /// What of that hides packets.
    pub(crate) fn blind_spots(&self) -> Vec<String> {
        let hiding = self.missing().filter(|finding| finding.hides);
        hiding.map(Finding::sentence).collect()
    }

    fn missing(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.state == State::Missing)
    }
}

fn memory(memory: Memory) -> Finding {
    let (state, found) = match memory.describe() {
        Ok(found) => (State::Present, found),
        Err(found) => (State::Required, found),
    };
    Finding {
        name: "memory".to_owned(),
        state,
        found,
        cost: "the kernel would kill a trace for want of memory",
        fix: "raise the limit: in Kubernetes, set `limits.memory` to 96Mi or more",
        hides: true,
    }
}

/// The running kernel's release, as `uname -r` prints it.
pub(crate) fn kernel_release() -> String {
    // SAFETY: all-zero is a value of the plain struct `utsname`.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is a valid place to write to; uname(2) fails for no other reason.
    unsafe { libc::uname(&raw mut name) };
    // SAFETY: the kernel ends the field with a NUL.
    unsafe { CStr::from_ptr(name.release.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// How a fact stands that is there or not, and what is said of either.
fn seen(is_there: bool, otherwise: State, [there, missing]: [&str; 2]) -> (State, String) {
    if is_there {
        (State::Present, there.to_owned())
    } else {
        (otherwise, missing.to_owned())
    }
}

fn of_btf(btf: &anyhow::Result<KernelBtf>) -> Finding {
    Finding {
        name: "BTF".to_owned(),
        state: if btf.is_ok() {
            State::Present
        } else {
            State::Required
        },
        found: match btf {
            Ok(_) => "/sys/kernel/btf/vmlinux".to_owned(),
            Err(error) => format!("{error:#}"),
        },
        cost: "the kernel's fields cannot be found",
        fix: "use a kernel with CONFIG_DEBUG_INFO_BTF=y (the distributions' are, since about 2021); \
              in a container, mount /sys",
        hides: true,
    }
}

fn ring_buffer(btf: &KernelBtf) -> Finding {
    let known = btf
        .enumerators("bpf_map_type")
        .values()
        .any(|name| name == "BPF_MAP_TYPE_RINGBUF");
    let (state, found) = seen(
        known,
        State::Required,
        ["known to this kernel", "not in this kernel"],
    );
    Finding {
        name: "BPF ring buffer".to_owned(),
        state,
        found,
        cost: "no event can reach userspace",
        fix: "use a kernel of 5.8 or later",
        hides: true,
    }
}

fn reasons(btf: &KernelBtf) -> Finding {
    let known = Reasons::read(btf).are_known();
    let (state, found) = seen(
        known,
        State::Missing,
        ["named in this kernel's BTF", "kernel before 5.17"],
    );
    Finding {
        name: "drop reasons".to_owned(),
        state,
        found,
        cost: "the kernel gives no drop reasons; only the function hints at the cause",
        fix: "use a kernel of 5.17 or later",
        hides: false,
    }
}

/// VXLAN and Geneve give reasons since 6.12.
fn tunnel_reasons(btf: &KernelBtf) -> Finding {
    let known = btf
        .enumerators("skb_drop_reason")
        .values()
        .any(|name| name == "SKB_DROP_REASON_VXLAN_VNI_NOT_FOUND");
    let (state, found) = seen(
        known,
        State::Missing,
        ["named in this kernel's BTF", "kernel before 6.12"],
    );
    Finding {
        name: "tunnels' reasons".to_owned(),
        state,
        found,
        cost: "VXLAN does not say why it drops; if the node's tables do not show it either, only \
               \"the tunnel code\" is named",
        fix: "use a kernel of 6.12 or later",
        hides: false,
    }
}

fn conntrack(btf: &KernelBtf) -> Finding {
    let known = btf.offset("sk_buff._nfct").is_some() && btf.offset("nf_conn.tuplehash").is_some();
    let (state, found) = seen(
        known,
        State::Missing,
        ["struct nf_conn is known", "struct nf_conn is unknown"],
    );
    Finding {
        name: "conntrack's BTF".to_owned(),
        state,
        found,
        cost: "destinations before NAT are not shown, and a filter on them does not match",
        fix: "if this node does NAT, load the module nf_conntrack before whydrop, on a kernel with \
              CONFIG_DEBUG_INFO_BTF_MODULES=y",
        hides: true,
    }
}

/// whydrop loads no module, so this one has to be there.
fn listeners() -> Finding {
    let module = Subsystem::TcpSockets;
    let (state, found) = seen(
        module.is_in_kernel(),
        State::Missing,
        [
            "listed by sock_diag",
            "the kernel module tcp_diag is not loaded",
        ],
    );
    Finding {
        name: "TCP listeners".to_owned(),
        state,
        found,
        cost: "a full accept queue or SYN queue is not recognized, nor the interface that a \
               listener is bound to",
        fix: "load the module: modprobe tcp_diag (`ss` does so, too)",
        hides: false,
    }
}

fn symbols() -> Finding {
    // The first symbol has address 0 on some machines even where addresses are shown.
    let shown = fs::read_to_string("/proc/kallsyms").is_ok_and(|text| {
        text.lines()
            .take(2000)
            .any(|line| !line.starts_with("0000000000000000"))
    });
    let (state, found) = seen(
        shown,
        State::Missing,
        ["/proc/kallsyms", "/proc/kallsyms hides its addresses"],
    );
    Finding {
        name: "kernel symbols".to_owned(),
        state,
        found,
        cost: "neither the dropping function nor the netfilter hook can be named",
        fix: "run with CAP_SYSLOG and with kernel.kptr_restrict below 2",
        hides: false,
    }
}
