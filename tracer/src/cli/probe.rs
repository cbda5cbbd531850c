//! The arguments of `whydrop probe`, as clap reads them.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{
    ClusterArgs, OutputArgs,
    endpoint::Endpoint,
    values::{duration, http_path, server_name, target},
};
use crate::{probe::target::Target, sink::PathFormat};

const PROBE_EXAMPLES: &str = "\
Examples:
  whydrop probe --from shop/web svc/shop/cart:80       from a pod to a Service
  whydrop probe --from 10.244.1.7 api.example.com:443  a name, by the pod's DNS
  whydrop probe shop/cart:8080                         from this node
  whydrop probe --dry-run svc/shop/cart:80             only list what is sent

TO is an address, a pod or a Service, as in a trace, or a DNS name; with a port. Nothing is changed on \
the node or in the cluster. Exit status: 0 no layer fails, 10 a layer fails, 1 failure, 2 usage error.";

/// The arguments of `whydrop probe`.
#[derive(Debug, Args)]
#[command(after_help = PROBE_EXAMPLES)]
pub(crate) struct ProbeArgs {
    /// Destination, such as svc/shop/cart:80, 10.244.3.17:443 or api.example.com:443
    #[arg(value_name = "TO", value_parser = target)]
    pub(crate) to: Target,

    /// Source: an address or a pod on this node, whose network namespace sends [default: this node]
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) from: Option<Endpoint>,

    /// Only show what would be sent
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Also send an HTTP request for this path
    #[arg(long, value_name = "PATH", value_parser = http_path)]
    pub(crate) http: Option<String>,

    /// Test TLS at any port [default: at the usual ports of TLS]
    #[arg(long)]
    pub(crate) tls: bool,

    /// Name for TLS (SNI) and HTTP (Host) [default: the DNS name of TO]
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    pub(crate) server_name: Option<String>,

    /// Resolver configuration to use [default: the one that a process of the source sees]
    #[arg(long, value_name = "FILE")]
    pub(crate) resolv_conf: Option<PathBuf>,

    /// Also watch this network namespace and its interfaces (repeatable) [default: those of this
    /// node, of the source and of the destination]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) netns: Vec<String>,

    /// How long each answer is waited for, such as 500ms [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// How to print.
    #[command(flatten)]
    pub(crate) output: OutputArgs<PathFormat>,

    /// Show all evidence for each verdict, not only the most relevant
    #[arg(short, long, help_heading = "Output")]
    pub(crate) verbose: bool,

    /// Log debug output to stderr, including from the eBPF programs
    #[arg(long, help_heading = "Output")]
    pub(crate) debug: bool,

    /// Where the cluster's objects come from.
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}
