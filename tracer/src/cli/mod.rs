//! The command line as clap reads it. What it means is decided in [`crate::cli::options`].

pub(crate) mod arrange;
pub(crate) mod endpoint;
#[cfg(feature = "trace")]
pub(crate) mod filter;
pub(crate) mod kubectl;
pub(crate) mod options;
mod probe;
mod values;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use self::{
    endpoint::Endpoint,
    probe::ProbeArgs,
    values::{at_least_one, duration, memory_size, ring_size, socket, to},
};
use crate::{
    cluster::resolve::Socket,
    sink::{ColorChoice, Format, Formats, PathFormat, TraceFormat},
};

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

/// The arguments of a trace.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Destination to trace, such as 10.244.3.17:443
    #[arg(value_name = "TO", value_parser = to)]
    pub(crate) to: Option<Endpoint>,

    /// Peer to restrict to [default: any]
    #[arg(long, value_name = "ENDPOINT", help_heading = "Filter")]
    pub(crate) from: Option<Endpoint>,

    /// What TO stands for, instead of looking it up (repeatable)
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = socket, requires = "to", help_heading = "Filter")]
    pub(crate) to_is: Vec<Socket>,

    /// What --from stands for, instead of looking it up (repeatable)
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = socket, requires = "from", help_heading = "Filter")]
    pub(crate) from_is: Vec<Socket>,

    /// Protocol
    #[arg(
        long,
        value_name = "tcp|udp|icmp|any",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Filter"
    )]
    pub(crate) proto: Proto,

    /// Trace every connection on this node, without a filter
    #[arg(long, conflicts_with_all = ["to", "from"], help_heading = "Filter")]
    pub(crate) all: bool,

    /// Trace this network namespace and its interfaces (repeatable) [default: the interfaces of the
    /// namespace that whydrop runs in, and drops in all of them]
    #[arg(long, value_name = "NAME|PATH", help_heading = "Filter")]
    pub(crate) netns: Vec<String>,

    /// Also show drops that healthy traffic causes
    #[arg(long, help_heading = "Filter")]
    pub(crate) noise: bool,

    /// Report a SYN or a DNS query as unanswered after this time, such as 500ms [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Time")]
    pub(crate) timeout: Option<Duration>,

    /// Stop after this time, such as 30s or 2m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Time")]
    pub(crate) duration: Option<Duration>,

    /// Stop after N drop records [default: never]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Time")]
    pub(crate) count: Option<u64>,

    /// Stop when a line `end` comes by stdin, when stdin is closed, or when nothing came by it for
    /// this time
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Time")]
    pub(crate) heartbeat: Option<Duration>,

    /// In a container with a PID namespace that is not the machine's own, run the nft and iptables of its
    /// first process: it is the node's
    #[arg(long, hide = true)]
    pub(crate) node_tools: bool,

    /// How to print.
    #[command(flatten)]
    pub(crate) output: OutputArgs<TraceFormat>,

    /// In JSON, report `tick` when there was nothing else to report for this time [default: 15s]
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "15s",
        help_heading = "Output"
    )]
    pub(crate) ticks: Option<Duration>,

    /// Show the kernel stack of each drop
    #[arg(long, help_heading = "Output")]
    pub(crate) stack: bool,

    /// Show all evidence for each verdict, not only the most relevant
    #[arg(short, long, help_heading = "Output")]
    pub(crate) verbose: bool,

    /// Also show attempts that were answered [default: only if the filter names both ends, or a
    /// port of one address]
    #[arg(long, help_heading = "Output")]
    pub(crate) answered: bool,

    /// Name of this node in the record `started` [default: its name in the cluster, or the host
    /// name]
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub(crate) node_name: Option<String>,

    /// Log debug output to stderr, including from the eBPF programs
    #[arg(long, help_heading = "Output")]
    pub(crate) debug: bool,

    /// Ring buffer size; increase it if events are lost [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = ring_size, help_heading = "Output")]
    pub(crate) ring_size: Option<u32>,

    /// Memory for kernel maps and tables together; increase it if attempts are untracked [default:
    /// 64M, or what the memory limit of the control group leaves]
    #[arg(long, value_name = "SIZE", value_parser = memory_size, help_heading = "Output")]
    pub(crate) memory: Option<u64>,

    /// Show at most N records per second, and count the others together; 0: show all
    #[arg(long, value_name = "N", default_value_t = 200, help_heading = "Output")]
    pub(crate) max_rate: u64,

    /// Where the cluster's objects come from.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// A protocol to filter for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
    /// Every protocol.
    #[default]
    Any,
}

impl Proto {
    /// The protocol's name on the command line.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Any => "any",
        }
    }
}

/// A protocol that policies can be asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyProto {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP and ICMPv6.
    Icmp,
    /// TCP and UDP: the answer that both have.
    Any,
}

impl PolicyProto {
    /// The protocol's name on the command line.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Any => "any",
        }
    }

    /// Whether it has ports.
    #[must_use]
    pub(crate) fn has_ports(self) -> bool {
        self != Self::Icmp
    }
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

/// The arguments of `whydrop explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Source: an address, a pod, or a workload such as deploy/shop/front
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) from: Endpoint,

    /// Destination: an address, a pod, a Service or a workload; TCP, UDP and SCTP need a port
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) to: Endpoint,

    /// Protocol
    #[arg(
        long,
        value_name = "tcp|udp|sctp|icmp|any",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) proto: PolicyProto,

    /// Instead, show the path of the flow's first packet through this node, step by step, without
    /// sending it (needs root). Exit status: 0 if a process takes it or it leaves this node, 10 if it
    /// is dropped or refused, 11 if that cannot be decided
    #[arg(long)]
    pub(crate) way: bool,

    /// With --way: the network namespace that sends it, by its name of `ip netns` or its path
    /// [default: the one that has the source address]
    #[arg(long, value_name = "NAME|PATH", requires = "way")]
    pub(crate) netns: Option<String>,

    /// Read cluster objects from a file written by `kubectl get
    /// pods,services,endpointslices,networkpolicies,namespaces,nodes -A -o json` (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster: Vec<PathBuf>,

    /// Kubeconfig to use if there is no --cluster [default: auto-detected]
    #[arg(long, value_name = "FILE", conflicts_with = "cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// How to print.
    #[command(flatten)]
    pub(crate) output: OutputArgs<Format>,
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

/// How to print.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs<F: Formats> {
    /// Output format; json prints one object per line to stdout, and notes to stderr
    #[arg(
        short = 'o',
        long = "output",
        value_name = F::NAMES,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub(crate) format: F,

    /// When to use color; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        value_name = "auto|always|never",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Output"
    )]
    pub(crate) color: ColorChoice,
}

/// Where the cluster's objects come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// Read cluster objects from a file written by `kubectl get
    /// pods,services,endpointslices,networkpolicies,namespaces,nodes -A -o json` (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster: Vec<PathBuf>,

    /// Kubeconfig to use [default: auto-detected]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// CRI socket of the container runtime [default: auto-detected]
    #[arg(long, value_name = "PATH")]
    pub(crate) cri_socket: Option<PathBuf>,

    /// Disable cluster lookups: neither API server nor container runtime
    #[arg(long, conflicts_with_all = ["kubeconfig", "cri_socket"])]
    pub(crate) no_kube: bool,
}

#[cfg(test)]
mod tests;
