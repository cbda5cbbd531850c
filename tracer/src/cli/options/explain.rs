//! The options of `whydrop explain`.

use std::path::PathBuf;

use clap::error::ErrorKind;

use super::{
    OutputConfig,
    usage::{refuse_impossible_ends, usage},
};
use crate::{
    cli::{ExplainArgs, PolicyProto, endpoint::Endpoint},
    cluster::source::{ClusterConfig, api::access},
    sink::Terminal,
};

/// The flow that the policies are to judge.
#[derive(Debug, Clone)]
pub(crate) struct ExplainConfig {
    /// The source: an address, a pod or a workload.
    pub(crate) from: Endpoint,
    /// The destination: an address, a pod, a Service or a workload.
    pub(crate) to: Endpoint,
    /// The protocol.
    pub(crate) proto: PolicyProto,
    /// Show the packet's way through this node instead.
    pub(crate) way: bool,
    /// The network namespace that sends the packet; found by its source address when absent.
    pub(crate) netns: Option<String>,
    /// Files with cluster objects; without any, the API server is asked.
    pub(crate) cluster: Vec<PathBuf>,
    /// How to reach the API server; auto-detected when absent.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How to print.
    pub(crate) output: OutputConfig,
}

impl ExplainConfig {
    pub(super) fn new(args: ExplainArgs, terminal: &Terminal) -> Result<Self, clap::Error> {
        let ExplainArgs {
            from,
            to,
            proto,
            way,
            netns,
            cluster,
            kubeconfig,
            output,
        } = args;
        for (option, endpoint) in [("--from", &from), ("--to", &to)] {
            let single = match endpoint {
                Endpoint::Net { net, .. } => net.prefix_len() == net.max_prefix_len(),
                Endpoint::Pod { .. } | Endpoint::Workload { .. } => true,
                // Nothing opens a connection from a Service.
                Endpoint::Service { .. } => option == "--to",
                Endpoint::Port(_) => false,
            };
            if !single {
                return Err(usage(
                    Some("explain"),
                    ErrorKind::InvalidValue,
                    &format!(
                        "{option} {endpoint}: expected one address, pod or workload, such as \
                         10.244.3.17:443, shop/cart:8080 or deploy/shop/cart:8080"
                    ),
                ));
            }
        }
        let has_ports = proto.has_ports();
        refuse_impossible_ends(Some("explain"), Some(&to), Some(&from), has_ports)?;
        if to.port().is_none() && has_ports && proto != PolicyProto::Any {
            return Err(usage(
                Some("explain"),
                ErrorKind::MissingRequiredArgument,
                &format!(
                    "--to needs a port for {}, such as --to {to}:443",
                    proto.name()
                ),
            ));
        }
        let asked = ClusterConfig {
            kubeconfig: kubeconfig.clone(),
            ..ClusterConfig::default()
        };
        if !way && cluster.is_empty() && access::places(&asked).is_empty() {
            return Err(usage(
                Some("explain"),
                ErrorKind::MissingRequiredArgument,
                "no kubeconfig was found: specify one with --kubeconfig, or specify a file with the \
                 cluster's objects with --cluster, written by\n\n  \
                 kubectl get pods,services,endpointslices,networkpolicies,namespaces,nodes -A \
                 -o json > cluster.json",
            ));
        }
        Ok(Self {
            from,
            to,
            proto,
            way,
            netns,
            cluster,
            kubeconfig,
            output: OutputConfig::new(&output, terminal),
        })
    }
}
