//! The options of `whydrop probe`.

use std::{path::PathBuf, time::Duration};

use clap::error::ErrorKind;

use super::{
    ClusterConfig, DEFAULT_TIMEOUT, OutputConfig, Proto, TraceConfig, refuse_impossible_ends, usage,
};
use crate::{
    cli::{ProbeArgs, endpoint::Endpoint},
    probe::target::Target,
    sink::{Detail, PathFormat, Terminal, TraceFormat},
};

/// The connection whose layers are to be walked.
#[derive(Debug, Clone)]
pub(crate) struct ProbeConfig {
    /// The destination, with a port where it needs one.
    pub(crate) to: Target,
    /// The source: an address or a pod of this node; this node itself when absent.
    pub(crate) from: Option<Endpoint>,
    /// Whether nothing is to be sent.
    pub(crate) dry_run: bool,
    /// The path of an HTTP request.
    pub(crate) http: Option<String>,
    /// Whether to test TLS at any port.
    pub(crate) tls: bool,
    /// The name for TLS and HTTP.
    pub(crate) server_name: Option<String>,
    /// The resolver's configuration.
    pub(crate) resolv_conf: Option<PathBuf>,
    /// Network namespaces to watch besides.
    pub(crate) netns: Vec<String>,
    /// How long an answer is waited for.
    pub(crate) timeout: Duration,
    /// How much to show as text.
    pub(crate) detail: Detail,
    /// Whether to log what whydrop itself does.
    pub(crate) debug: bool,
    /// Where the cluster's objects come from.
    pub(crate) cluster: ClusterConfig,
    /// How to print.
    pub(crate) output: OutputConfig<PathFormat>,
}

impl ProbeConfig {
    pub(super) fn new(args: ProbeArgs, terminal: &Terminal) -> Result<Self, clap::Error> {
        let ProbeArgs {
            to,
            from,
            dry_run,
            http,
            tls,
            server_name,
            resolv_conf,
            netns,
            timeout,
            output,
            verbose,
            debug,
            cluster,
        } = args;
        let is_one = |end: &Endpoint| match end {
            Endpoint::Net { net, .. } => net.prefix_len() == net.max_prefix_len(),
            Endpoint::Pod { .. } => true,
            Endpoint::Service { .. } | Endpoint::Workload { .. } | Endpoint::Port(_) => false,
        };
        if let Some(from) = from.as_ref().filter(|from| !is_one(from)) {
            return Err(usage(
                Some("probe"),
                ErrorKind::InvalidValue,
                &format!(
                    "--from {from}: expected one address or pod of this node, such as shop/web"
                ),
            ));
        }
        let to_one = to.endpoint().is_none_or(|end| {
            is_one(end) || matches!(end, Endpoint::Service { .. } | Endpoint::Workload { .. })
        });
        let is_service = matches!(to.endpoint(), Some(Endpoint::Service { .. }));
        if !to_one || (to.port().is_none() && !is_service) {
            return Err(usage(
                Some("probe"),
                ErrorKind::InvalidValue,
                &format!(
                    "{to}: expected one address, pod, Service or name, and a port, such as \
                     10.244.3.17:443, svc/shop/cart:80 or api.example.com:443"
                ),
            ));
        }
        refuse_impossible_ends(Some("probe"), to.endpoint(), from.as_ref(), true)?;
        Ok(Self {
            to,
            from,
            dry_run,
            http,
            tls,
            server_name,
            resolv_conf,
            netns,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            detail: Detail {
                verbose,
                answered: false,
            },
            debug,
            cluster: cluster.into(),
            output: OutputConfig::new(&output, terminal),
        })
    }
}

impl TraceConfig {
    /// The trace behind a probe.
    pub(crate) fn of_probe(probe: &ProbeConfig) -> Self {
        Self {
            to: probe.to.endpoint().cloned(),
            from: probe.from.clone(),
            to_is: Vec::new(),
            from_is: Vec::new(),
            proto: Proto::Any,
            all: false,
            netns: Vec::new(),
            noise: false,
            stack: false,
            detail: probe.detail,
            node_name: None,
            debug: probe.debug,
            timeout: probe.timeout,
            duration: None,
            count: None,
            heartbeat: None,
            node_tools: false,
            ticks: None,
            ring_bytes: None,
            memory: None,
            most_records: None,
            answered_rate: u64::MAX,
            cluster: probe.cluster.clone(),
            output: OutputConfig {
                format: TraceFormat::Text,
                style: probe.output.style.clone(),
            },
        }
    }
}
