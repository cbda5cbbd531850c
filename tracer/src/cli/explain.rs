//! The arguments of `whydrop explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{common::OutputArgs, endpoint::Endpoint};
use crate::sink::Format;

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
    /// sending it (needs root). A path into a tunnel, such as VXLAN, is not followed further. Exit status: 0 if a process takes it or it leaves this node, 10 if it
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
