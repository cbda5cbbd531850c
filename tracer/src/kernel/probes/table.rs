//! All kernel programs in one table: where each is attached, whether a trace needs it, and what is
//! lost without it. What is optional and absent or refused is skipped, with the reason.

use std::fmt;

use anyhow::{Context as _, Result, anyhow};
use aya::programs::ProgramError;

use crate::words;

/// A kernel program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its name in the object file.
    pub(super) name: &'static str,
    /// Where it is attached.
    pub(crate) hook: Hook,
    /// When it is loaded.
    pub(super) when: When,
    /// Whether there is no trace without it.
    pub(crate) required: bool,
    /// What is lost without it.
    pub(crate) cost: &'static str,
    /// How to get it.
    pub(crate) fix: &'static str,
    /// Whether packets go unseen without it, so that silence proves nothing.
    pub(crate) hides: bool,
}

/// Where a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// A tracepoint with this name in the kernel's BTF, and at least so many arguments.
    Tracepoint(&'static str, usize),
    /// The end of a function with this name, which has so many arguments.
    Function(&'static str, usize),
    /// Each interface.
    Interface,
}

/// When a program is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// At each start.
    Always,
    /// If interfaces are too many, or cannot be attached to one by one.
    Everywhere,
}

/// The tracepoint that every dropped skb passes.
pub(crate) const KFREE_SKB: &str = "kfree_skb";
/// The programs at the interfaces.
pub(super) const TC_INGRESS: &str = "tc_ingress";
pub(super) const TC_EGRESS: &str = "tc_egress";

/// The table. Of several programs for one tracepoint, the last that its arguments suffice for is
/// taken; a later kernel may add arguments at the end.
pub(crate) static PROGRAMS: [Program; 12] = [
    drops("kfree_skb", 2),
    drops("kfree_skb_reason", 3),
    drops("kfree_skb_rx_sk", 4),
    at_each_interface(TC_INGRESS),
    at_each_interface(TC_EGRESS),
    at_all_interfaces("netif_receive_skb"),
    at_all_interfaces("net_dev_queue"),
    Program {
        name: "tcp_retransmit_skb",
        hook: Hook::Tracepoint("tcp_retransmit_skb", 2),
        when: When::Always,
        required: false,
        cost: "a connection that stalls after its handshake is not noticed by what is sent again",
        fix: "use a kernel of 5.8 or later with CONFIG_TRACEPOINTS=y and CONFIG_INET=y",
        hides: false,
    },
    of_connects("tcp_v4_connect"),
    of_connects("tcp_v6_connect"),
    of_connects("tcp_v4_pre_connect"),
    of_connects("tcp_v6_pre_connect"),
];

const fn drops(name: &'static str, arguments: usize) -> Program {
    Program {
        name,
        hook: Hook::Tracepoint(KFREE_SKB, arguments),
        when: When::Always,
        required: true,
        cost: "no drop can be seen",
        fix: "use a kernel of 5.8 or later with CONFIG_TRACEPOINTS=y and CONFIG_NET=y",
        hides: true,
    }
}

const fn at_each_interface(name: &'static str) -> Program {
    Program {
        name,
        hook: Hook::Interface,
        when: When::Always,
        required: false,
        cost: "handshakes are not seen at the interfaces",
        fix: "use a kernel of 6.6 or later",
        hides: true,
    }
}

/// At the end of a function that all connects pass, and no packet.
const fn of_connects(function: &'static str) -> Program {
    Program {
        name: function,
        hook: Hook::Function(function, 3),
        when: When::Always,
        required: false,
        cost: "a connect that fails before it sends a packet is not noticed: no route, no free local port, or \
               a program of a control group that refuses it",
        fix: "use a kernel of 5.8 or later (aarch64: 6.4) with CONFIG_DYNAMIC_FTRACE=y",
        hides: false,
    }
}

const fn at_all_interfaces(tracepoint: &'static str) -> Program {
    Program {
        name: tracepoint,
        hook: Hook::Tracepoint(tracepoint, 1),
        when: When::Everywhere,
        required: false,
        cost: "many interfaces are attached to one by one, which takes seconds",
        fix: "use a kernel of 5.8 or later with CONFIG_TRACEPOINTS=y and CONFIG_NET=y",
        hides: false,
    }
}

impl Hook {
    /// The tracepoint, if it is one.
    pub(super) fn tracepoint(self) -> Option<&'static str> {
        match self {
            Self::Tracepoint(name, _) => Some(name),
            Self::Function(..) | Self::Interface => None,
        }
    }

    /// The function, if it is one.
    pub(super) fn function(self) -> Option<&'static str> {
        match self {
            Self::Function(name, _) => Some(name),
            Self::Tracepoint(..) | Self::Interface => None,
        }
    }
}

/// The programs that see the packets of all interfaces.
pub(super) fn everywhere() -> impl Iterator<Item = &'static Program> {
    PROGRAMS
        .iter()
        .filter(|program| program.when == When::Everywhere)
}

/// Whether the programs at each interface are all among these.
pub(super) fn has_classifiers(programs: &[&Program]) -> bool {
    let mut needed = PROGRAMS
        .iter()
        .filter(|program| program.hook == Hook::Interface);
    needed.all(|program| programs.contains(&program))
}

/// As findings and sentences name it.
impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracepoint(name, _) => write!(f, "tracepoint {name}"),
            // One finding for all of them: they have one purpose.
            Self::Function(..) => f.write_str("failing connects"),
            Self::Interface => f.write_str("tc probes"),
        }
    }
}

/// An optional program that is left out, and why.
#[derive(Debug, Clone)]
pub(crate) struct Skipped {
    /// The program.
    pub(crate) program: &'static Program,
    /// Why it is left out.
    pub(crate) reason: String,
}

/// The programs for this kernel, of which `arguments` gives the number of arguments that a tracepoint or a
/// function has.
///
/// # Errors
///
/// The hook of a required one is absent.
pub(super) fn fitting(
    arguments: impl Fn(Hook) -> Option<usize>,
) -> Result<(Vec<&'static Program>, Vec<Skipped>)> {
    let mut fitting: Vec<&'static Program> = Vec::new();
    let mut skipped: Vec<Skipped> = Vec::new();
    for program in &PROGRAMS {
        let (needed, is_exact) = match program.hook {
            Hook::Interface => {
                fitting.push(program);
                continue;
            }
            Hook::Tracepoint(_, needed) => (needed, false),
            // Behind its arguments is what it returns.
            Hook::Function(_, needed) => (needed, true),
        };
        let tracepoint = program.hook.tracepoint();
        let is_same =
            |known: &Program| tracepoint.is_some() && known.hook.tracepoint() == tracepoint;
        let problem = match arguments(program.hook) {
            Some(found) if found == needed || (found > needed && !is_exact) => {
                fitting.retain(|known| !is_same(known));
                fitting.push(program);
                continue;
            }
            // An older program fits.
            Some(_) if fitting.iter().any(|known| is_same(known)) => continue,
            Some(found) => format!(
                "it has {}, and {needed} are needed",
                words::count(found as u64, "argument")
            ),
            None => "not in this kernel's BTF".to_owned(),
        };
        skip(program, anyhow!(problem), &mut skipped)?;
    }
    Ok((fitting, skipped))
}

/// Does something with each program, such as to load it. Returns those for which it succeeded.
///
/// # Errors
///
/// A required one is refused.
pub(super) fn try_each(
    programs: Vec<&'static Program>,
    skipped: &mut Vec<Skipped>,
    mut act: impl FnMut(&'static Program) -> Result<()>,
) -> Result<Vec<&'static Program>> {
    let mut done = Vec::new();
    for program in programs {
        match act(program) {
            Ok(()) => done.push(program),
            Err(error) => skip(program, error, skipped)?,
        }
    }
    Ok(done)
}

fn skip(program: &'static Program, error: anyhow::Error, skipped: &mut Vec<Skipped>) -> Result<()> {
    if program.required {
        return Err(error).with_context(|| format!("{} ({})", program.cost, program.hook));
    }
    log::info!("without the program {}: {error:#}", program.name);
    skipped.push(Skipped {
        program,
        reason: reason(&error),
    });
    Ok(())
}

/// An error in half a sentence: without all that the verifier has to say.
fn reason(error: &anyhow::Error) -> String {
    match error.downcast_ref() {
        Some(ProgramError::LoadError { io_error, .. }) => {
            format!("the kernel refuses the program: {io_error}")
        }
        _ => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests;
