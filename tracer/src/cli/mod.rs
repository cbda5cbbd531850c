//! The command line as clap reads it. What it means is decided in [`crate::cli::options`].

pub(crate) mod arrange;
mod common;
pub(crate) mod endpoint;
mod explain;
#[cfg(feature = "trace")]
pub(crate) mod filter;
mod hint;
pub(crate) mod kubectl;
pub(crate) mod options;
mod probe;
mod trace;
mod values;

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use self::probe::ProbeArgs;
pub(crate) use self::{
    common::{ClusterArgs, OutputArgs},
    explain::{ExplainArgs, PolicyProto},
    trace::{Proto, TraceArgs},
};
use crate::sink::{Format, PathFormat};

const EXAMPLES: &str = "\
Examples:
  whydrop 10.244.3.17:443                       connections to it, both ways
  whydrop 10.244.3.17:443 --from 10.244.1.0/24  only with these peers
  whydrop svc/shop/cart:80 --from shop/web      from a pod to a Service
  whydrop :53 --proto udp --duration 30s        DNS, for 30 seconds
  whydrop --all --count 20 -o json              the next 20 drops, as JSON
  whydrop check                                 what this node supports
  whydrop probe --from shop/web shop/cart:8080  test each layer now";

const ENDPOINTS: &str = "\
An ENDPOINT is one of:
  10.244.3.17       an address             10.244.3.17:443    with a port
  fd00::7           an IPv6 address        [fd00::7]:443      with a port
  10.244.0.0/16     a prefix               10.244.0.0/16:443  with a port
  :443              a port anywhere
  shop/cart         a pod (namespace/name) shop/cart:8080     with a port
  svc/shop/cart:80  a Service: its addresses and every endpoint behind it
  deploy/shop/cart  a workload: all of its pods (also sts/… and ds/…)

A filter matches both directions of a connection, its tuple before and after NAT, the inner \
tuple of VXLAN, Geneve and IP-in-IP, and the tuple quoted inside ICMP errors.

Exit status: 0 success (including Ctrl-C), 1 failure, 2 usage error.";

/// Who dropped my packet? Shows the packets that this node's kernel drops, and why
///
/// Traces one connection on a Kubernetes node, and shows every packet of it that the kernel drops:
/// who dropped it, the evidence, and a fix. It is read-only, needs root (`whydrop check` lists the
/// exact requirements), and runs until Ctrl-C, which prints a summary.
#[derive(Debug, Parser)]
#[command(
    name = "whydrop",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{ENDPOINTS}"),
)]
pub(crate) struct Cli {
    /// What to do instead of tracing.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// What to trace.
    #[command(flatten)]
    pub(crate) trace: TraceArgs,
}

impl Cli {
    /// Reads the arguments, the program's name first.
    ///
    /// # Errors
    ///
    /// They ask for help, or are not understood: what was meant is in the error, if it can be guessed.
    pub(crate) fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments = arrange::arranged(arguments);
        Self::try_parse_from(&arguments).map_err(|error| hint::hinted(error, &arguments))
    }
}

/// What to do instead of tracing.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what this node supports, and how to fix what is missing
    Check(CheckArgs),
    /// Evaluate the NetworkPolicies for one flow, or follow its way through this node (--way)
    Explain(Box<ExplainArgs>),
    /// Send a few packets along one connection, and show which layer fails
    Probe(Box<ProbeArgs>),
    /// Join traces of several nodes: one path for each connection attempt
    Join(JoinArgs),
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions {
        /// Shell to complete in
        shell: Shell,
    },
    /// Print the manual page of whydrop, or of a subcommand
    #[command(hide = true)]
    Man {
        /// Subcommand
        subcommand: Option<String>,
    },
}

/// The arguments of `whydrop check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// How to print.
    #[command(flatten)]
    pub(crate) output: OutputArgs<Format>,

    /// Where the cluster's objects come from.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

const JOIN_EXAMPLE: &str = "\
Example:
  node-1# whydrop 10.244.3.17:443 -o json > node-1.jsonl
  node-2# whydrop 10.244.3.17:443 -o json > node-2.jsonl
          whydrop join node-1.jsonl node-2.jsonl

Attempts are matched by their ISN (DNS: by id and question), across NAT and tunnels. The clocks of
the nodes need not agree. No root is needed.";

/// The arguments of `whydrop join`.
#[derive(Debug, Args)]
#[command(after_help = JOIN_EXAMPLE)]
pub(crate) struct JoinArgs {
    /// Traces of the nodes, one each, as `whydrop … -o json` writes them
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Show all evidence for each verdict, not only the most relevant
    #[arg(short, long, help_heading = "Output")]
    pub(crate) verbose: bool,

    /// Also show attempts that were answered
    #[arg(long, help_heading = "Output")]
    pub(crate) answered: bool,

    /// How to print.
    #[command(flatten)]
    pub(crate) output: OutputArgs<PathFormat>,
}

#[cfg(test)]
mod tests;
