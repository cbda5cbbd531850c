//! How to reach the API server: what the options say, what the environment says, what a node has.

use std::{
    env,
    path::{Path, PathBuf},
};

use futures_util::FutureExt as _;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::cli::options::ClusterConfig;

/// Where nodes keep a kubeconfig, the administrator's before the kubelet's, which may see little.
const OF_NODES: [&str; 11] = [
    "/etc/kubernetes/admin.conf",
    "/etc/rancher/k3s/k3s.yaml",
    "/etc/rancher/rke2/rke2.yaml",
    "/var/lib/k0s/pki/admin.conf",
    "/var/snap/microk8s/current/credentials/client.config",
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/kubeconfig",
    "/var/lib/k0s/kubelet.conf",
    "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
    "/var/snap/microk8s/current/credentials/kubelet.config",
];

/// The token that a pod is given: it may ask the API server.
const IN_CLUSTER_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// A place that tells how to reach the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `--kubeconfig`.
    Option(PathBuf),
    /// The environment variable KUBECONFIG: files that are read as one.
    Environment(Vec<PathBuf>),
    /// What Kubernetes gives to every pod.
    InCluster,
    /// The user's `~/.kube/config`.
    Home(PathBuf),
    /// What the node keeps for itself.
    Node(PathBuf),
}

/// A kubeconfig is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}; {}", place.way_out())]
pub struct AccessError {
    place: Place,
    reason: String,
}

/// How to reach the API server.
#[derive(Debug, Clone)]
pub struct Access {
    /// Where that was found.
    pub place: Place,
    /// It, for the client.
    pub config: Config,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Option(path) => write!(f, "--kubeconfig {}", path.display()),
            Self::Environment(paths) => {
                let paths: Vec<String> = paths
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                write!(f, "KUBECONFIG={}", paths.join(":"))
            }
            Self::InCluster => f.write_str("the ServiceAccount of this pod"),
            Self::Home(path) | Self::Node(path) => path.display().fmt(f),
        }
    }
}

impl Place {
    fn way_out(&self) -> &'static str {
        match self {
            Self::Option(_) => {
                "give a file with which `kubectl --kubeconfig FILE get pods` works, or leave \
                 --kubeconfig out and have one looked for, or ask nobody with --no-kube"
            }
            _ => "give another with --kubeconfig FILE, or ask nobody with --no-kube",
        }
    }

    /// Whether whydrop may pass it over in silence: nobody has pointed at it.
    fn is_a_guess(&self) -> bool {
        matches!(self, Self::Home(_) | Self::Node(_))
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or does not say how to reach an API server.
    pub fn access(self) -> Result<Access, AccessError> {
        let config = match &self {
            Self::Option(path) | Self::Home(path) | Self::Node(path) => {
                match Kubeconfig::read_from(path) {
                    Ok(kubeconfig) => resolve(kubeconfig),
                    Err(error) => Err(reason(error)),
                }
            }
            Self::Environment(paths) => match merge(paths) {
                Ok(kubeconfig) => resolve(kubeconfig),
                Err(error) => Err(reason(error)),
            },
            Self::InCluster => Config::incluster().map_err(|error| error.to_string()),
        };
        match config {
            Ok(config) => Ok(Access {
                place: self,
                config,
            }),
            Err(reason) => Err(AccessError {
                place: self,
                reason,
            }),
        }
    }
}

/// The places that are there, best first; none where nobody is to be asked.
#[must_use]
pub fn places(config: &ClusterConfig) -> Vec<Place> {
    if config.no_kube {
        return Vec::new();
    }
    if let Some(path) = &config.kubeconfig {
        return vec![Place::Option(path.clone())];
    }
    let environment = env::var_os("KUBECONFIG").map(|value| {
        let paths = env::split_paths(&value);
        paths.filter(|path| !path.as_os_str().is_empty()).collect()
    });
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".kube/config"));
    let in_pod =
        env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(IN_CLUSTER_TOKEN).exists();
    in_order(
        environment.unwrap_or_default(),
        in_pod,
        home.as_deref(),
        &OF_NODES.map(Path::new),
    )
}

fn in_order(
    environment: Vec<PathBuf>,
    in_pod: bool,
    home: Option<&Path>,
    of_nodes: &[&Path],
) -> Vec<Place> {
    let environment = (!environment.is_empty()).then_some(Place::Environment(environment));
    let in_pod = in_pod.then_some(Place::InCluster);
    let there = |path: &&Path| path.exists();
    let home = home.filter(there).map(|path| Place::Home(path.to_owned()));
    let of_nodes = of_nodes.iter().copied().filter(there);
    (environment.into_iter().chain(in_pod).chain(home))
        .chain(of_nodes.map(|path| Place::Node(path.to_owned())))
        .collect()
}

/// The first place that is of use, and what is wrong with those before it that somebody has
/// pointed at.
pub(super) fn first(places: Vec<Place>) -> (Option<Access>, Vec<AccessError>) {
    let mut errors = Vec::new();
    for place in places {
        match place.access() {
            Ok(access) => return (Some(access), errors),
            Err(error) if error.place.is_a_guess() => {
                log::debug!("{error}");
            }
            Err(error) => errors.push(error),
        }
    }
    (None, errors)
}

fn resolve(kubeconfig: Kubeconfig) -> Result<Config, String> {
    // A future that only reads files: it is done at once.
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .now_or_never()
        .ok_or("reading it takes too long")?
        .map_err(reason)
}

fn merge(paths: &[PathBuf]) -> Result<Kubeconfig, KubeconfigError> {
    // kubectl, too, passes over the files of the list that are not there.
    let mut there = paths.iter().filter(|path| path.exists());
    there.try_fold(Kubeconfig::default(), |merged, path| {
        merged.merge(Kubeconfig::read_from(path)?)
    })
}

fn reason(error: KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => format!("it cannot be read: {error}"),
        KubeconfigError::CurrentContextNotSet => "it has no current-context".to_owned(),
        KubeconfigError::LoadContext(name) => {
            format!("its current-context is {name:?}, which is not among its contexts")
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("its context names the cluster {name:?}, which is not in it")
        }
        // The parser's message draws the place in the file over several lines.
        KubeconfigError::Parse(error) => {
            let message = error.to_string();
            let line = message.lines().next().unwrap_or_default();
            format!("it is no kubeconfig: {line}")
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
