//! How to reach the API server: what the options say, what the environment says, what a node has.
//!
//! - `kubeconfig`: reading the files, if they are ours to trust
//! - `credentials`: what the API server is shown, and who gets it
//! - `plugin`: the program that a kubeconfig names for that
//! - `secrets`: what must not be shown

mod credentials;
mod kubeconfig;
mod pipe;
mod plugin;
mod secrets;

use std::{
    env,
    path::{Path, PathBuf},
    time::SystemTime,
};

use kube::Config;

use self::credentials::Credentials;
pub(crate) use self::plugin::kill_all as kill_plugins;
pub(super) use self::secrets::Secrets;
use crate::cluster::{item::printable, source::ClusterConfig};

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

/// A place that says how to reach the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
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
pub(crate) struct AccessError {
    place: Place,
    reason: Unusable,
}

/// Why a kubeconfig is of no use.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    /// It does not say what it should.
    #[error("{0}")]
    Wrong(String),
    /// Others can make it run programs as this user.
    #[error("{0}")]
    Unsafe(String),
}

/// How to reach the API server.
#[derive(Clone)]
pub(crate) struct Access {
    /// Where that was found.
    pub(crate) place: Place,
    /// The server, for the user: without what stands before an `@` in its URL.
    server: String,
    config: Config,
    credentials: Credentials,
    secrets: Secrets,
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
                 --kubeconfig out and have one looked for, or disable cluster lookups with --no-kube"
            }
            _ => "give another with --kubeconfig FILE, or disable cluster lookups with --no-kube",
        }
    }

    /// Whether whydrop may pass it over in silence: the user has not pointed at it.
    fn is_a_guess(&self) -> bool {
        matches!(self, Self::Home(_) | Self::Node(_))
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// It cannot be read or trusted, or does not say how to reach an API server.
    pub(crate) fn access(self) -> Result<Access, AccessError> {
        self.access_as(None)
    }

    /// Reads it, with another context than its current one.
    ///
    /// # Errors
    ///
    /// As for [`Place::access`]; or it has no such context.
    pub(crate) fn access_as(self, context: Option<&str>) -> Result<Access, AccessError> {
        let config = match &self {
            Self::Option(path) | Self::Home(path) | Self::Node(path) => {
                kubeconfig::read(std::slice::from_ref(path), context)
            }
            // kubectl, too, passes over the files of the list that are not there.
            Self::Environment(paths) => {
                let there: Vec<_> = paths.iter().filter(|path| path.exists()).cloned().collect();
                kubeconfig::read(&there, context)
            }
            Self::InCluster => {
                Config::incluster().map_err(|error| Unusable::Wrong(error.to_string()))
            }
        };
        let access = config.and_then(|config| Access::new(self.clone(), config));
        access.map_err(|reason| AccessError {
            place: self,
            reason,
        })
    }
}

impl Access {
    fn new(place: Place, mut config: Config) -> Result<Self, Unusable> {
        let secrets = Secrets::of(&config);
        let credentials = Credentials::take(&mut config.auth_info)?;
        Ok(Self {
            server: public_url(&config.cluster_url),
            place,
            config,
            credentials,
            secrets,
        })
    }
}

impl Access {
    /// The server and how it is known, for the user.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        format!("{} ({})", self.server, self.place)
    }

    /// The namespace of its context.
    #[must_use]
    pub(crate) fn namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// Whether a program issues the credentials, and can be asked for others.
    pub(super) fn issues(&self) -> bool {
        matches!(self.credentials, Credentials::Plugin(_))
    }

    /// The configuration with credentials in it, what of it must not be shown, and until when they
    /// are good.
    pub(super) async fn credentials(
        &self,
    ) -> Result<(Config, Secrets, Option<SystemTime>), String> {
        let mut config = self.config.clone();
        let Credentials::Plugin(exec) = &self.credentials else {
            credentials::check(&config.auth_info)?;
            return Ok((config, self.secrets.clone(), None));
        };
        let issued = plugin::run(exec).await?;
        credentials::put(&issued, &mut config.auth_info);
        let (certificate, key) = issued.certificate.unzip();
        let hidden = issued.token.into_iter().chain(certificate).chain(key);
        Ok((config, self.secrets.and(hidden), issued.expires))
    }
}

/// Only what may be shown.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// A URL without user, password and query.
fn public_url(url: &http::Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let host = url.host().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    let path = url.path().trim_end_matches('/');
    printable(&format!(
        "{scheme}://{host}{}{path}",
        port.unwrap_or_default()
    ))
}

/// The places that are there, best first; none where cluster lookups are disabled.
#[must_use]
pub(crate) fn places(config: &ClusterConfig) -> Vec<Place> {
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

/// The first place that is of use, and what is wrong with those before it that the user has
/// pointed at, or that are unsafe.
pub(super) fn first(places: Vec<Place>) -> (Option<Access>, Vec<AccessError>) {
    let mut errors = Vec::new();
    for place in places {
        match place.access() {
            Ok(access) => return (Some(access), errors),
            Err(error)
                if error.place.is_a_guess() && matches!(error.reason, Unusable::Wrong(_)) =>
            {
                log::debug!("{error}");
            }
            Err(error) => errors.push(error),
        }
    }
    (None, errors)
}

#[cfg(test)]
mod tests;
