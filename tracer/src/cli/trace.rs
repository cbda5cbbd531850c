//! The arguments of a trace.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{
    common::{ClusterArgs, OutputArgs},
    endpoint::Endpoint,
    values::{at_least_one, duration, memory_size, ring_size, socket, to},
};
use crate::{cluster::resolve::Socket, sink::TraceFormat};

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

    /// Also show attempts that were answered, at most --max-rate of them per second; all are counted
    /// [default: only if the filter names both ends, or a port of one address]
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
