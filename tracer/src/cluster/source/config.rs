//! What the user says about the sources.

use std::path::PathBuf;

/// Where the cluster's objects come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterConfig {
    /// Files that `kubectl get -o json` wrote.
    pub(crate) files: Vec<PathBuf>,
    /// How to reach the API server; auto-detected when absent.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// How to reach the container runtime; auto-detected when absent.
    pub(crate) cri_socket: Option<PathBuf>,
    /// No cluster lookups.
    pub(crate) no_kube: bool,
}
