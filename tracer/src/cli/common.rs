//! Options that several commands have.

use std::path::PathBuf;

use clap::Args;

use crate::sink::{ColorChoice, Formats};

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
