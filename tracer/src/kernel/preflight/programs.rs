//! Whether this kernel has the hooks of the kernel programs, and takes the programs.

use anyhow::Result;

use super::{Finding, State};
use crate::{
    kernel::{
        btf::KernelBtf,
        probes::{Hook, KFREE_SKB, PROGRAMS, Plan, Program, Programs, Settings, Skipped},
    },
    words,
};

impl State {
    /// How it stands where this program is missing.
    fn without(program: &Program) -> Self {
        if program.required {
            Self::Required
        } else {
            Self::Missing
        }
    }
}

/// The hooks, each once, by what the kernel's BTF knows of them.
pub(super) fn hooks(btf: &KernelBtf) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for program in &PROGRAMS {
        if findings
            .iter()
            .any(|known| known.name == program.hook.to_string())
        {
            continue;
        }
        findings.push(match program.hook {
            Hook::Tracepoint(name, needed) => {
                tracepoint(program, (name, needed), btf.tracepoint_arguments(name))
            }
            Hook::Function(name, needed) => function(program, needed, btf.function_arguments(name)),
            Hook::Interface => at_interfaces(program, btf),
        });
    }
    findings
}

/// The optional programs that the kernel does not take.
pub(super) fn trial(btf: &KernelBtf) -> Result<Vec<Skipped>> {
    let mut programs = Programs::load(&Settings::trial(), Plan::of(btf)?)?;
    programs.load_everywhere()?;
    Ok(programs.skipped().to_vec())
}

/// A trial that failed: the kernel does not take a required one.
pub(super) fn refused(error: &anyhow::Error) -> Finding {
    Finding {
        name: "kernel programs".to_owned(),
        state: State::Required,
        found: format!("{error:#}"),
        cost: "no drop can be seen",
        fix: "report this kernel and what its verifier says",
        hides: true,
    }
}

/// Puts down what the kernel turned out not to take.
pub(super) fn skip(findings: &mut Vec<Finding>, skipped: &Skipped) {
    let program = skipped.program;
    let missing = Finding {
        state: State::without(program),
        ..finding(program, skipped.reason.clone())
    };
    match findings.iter_mut().find(|known| known.name == missing.name) {
        Some(known) => *known = missing,
        None => findings.push(missing),
    }
}

/// One that is there.
fn finding(program: &Program, found: String) -> Finding {
    Finding {
        name: program.hook.to_string(),
        state: State::Present,
        found,
        cost: program.cost,
        fix: program.fix,
        hides: program.hides,
    }
}

fn tracepoint(
    program: &Program,
    (name, needed): (&str, usize),
    arguments: Option<usize>,
) -> Finding {
    let found = match arguments {
        Some(arguments) => format!(
            "{}{}",
            words::count(arguments as u64, "argument"),
            signature(name, arguments)
        ),
        None => "not in this kernel's BTF".to_owned(),
    };
    Finding {
        state: match arguments {
            Some(arguments) if arguments >= needed => State::Present,
            _ => State::without(program),
        },
        ..finding(program, found)
    }
}

fn function(program: &Program, needed: usize, arguments: Option<usize>) -> Finding {
    let (state, found) = match arguments {
        Some(arguments) if arguments == needed => (State::Present, "seen at the end of functions"),
        Some(_) => (
            State::without(program),
            "the kernel's functions have other arguments",
        ),
        None => (
            State::without(program),
            "the functions are not in this kernel's BTF",
        ),
    };
    Finding {
        state,
        ..finding(program, found.to_owned())
    }
}

/// What the arguments are, where that differs between kernels.
fn signature(tracepoint: &str, arguments: usize) -> &'static str {
    match (tracepoint, arguments) {
        (KFREE_SKB, 2) => " (skb, location)",
        (KFREE_SKB, 3) => " (skb, location, reason)",
        (KFREE_SKB, 4) => " (skb, location, reason, rx_sk)",
        (KFREE_SKB, _) => " (unknown)",
        _ => "",
    }
}

/// Never missing by what BTF knows: before TCX there is clsact, which sees the same. What an
/// interface takes of neither is found when it is tried.
fn at_interfaces(program: &Program, btf: &KernelBtf) -> Finding {
    let known = btf
        .enumerators("bpf_attach_type")
        .values()
        .any(|name| name == "BPF_TCX_INGRESS");
    let found = if known {
        "by TCX"
    } else {
        "by clsact qdiscs (kernel before 6.6, without TCX)"
    };
    finding(program, found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(hook: &str) -> &'static Program {
        let mut all = PROGRAMS.iter();
        all.find(|program| program.hook.to_string() == hook)
            .expect("a program")
    }

    #[test]
    fn a_tracepoint_that_is_absent_costs_what_the_table_says() {
        let retransmit = program("tracepoint tcp_retransmit_skb");
        let absent = tracepoint(retransmit, ("tcp_retransmit_skb", 2), None);
        assert_eq!(absent.state, State::Missing);
        assert_eq!((absent.cost, absent.hides), (retransmit.cost, false));
        let drops = program("tracepoint kfree_skb");
        let of_drops = |arguments| tracepoint(drops, (KFREE_SKB, 2), arguments);
        assert_eq!(of_drops(None).state, State::Required);
        assert_eq!(of_drops(Some(1)).state, State::Required);
        let known = of_drops(Some(4));
        assert_eq!(known.state, State::Present);
        assert_eq!(known.found, "4 arguments (skb, location, reason, rx_sk)");
    }

    #[test]
    fn what_is_refused_is_found_missing_with_the_reason() {
        let classifiers = program("tc probes");
        let mut findings = vec![finding(classifiers, "by TCX".to_owned())];
        let refused = Skipped {
            program: classifiers,
            reason: "the kernel refuses the program: Invalid argument".to_owned(),
        };
        skip(&mut findings, &refused);
        let [finding] = findings.as_slice() else {
            panic!("{findings:?}");
        };
        assert_eq!(finding.state, State::Missing);
        assert!(finding.hides);
        assert_eq!(
            finding.sentence(),
            "handshakes are not seen at the interfaces (tc probes: the kernel refuses the program: \
             Invalid argument)"
        );
    }
}
