//! Pods.

use std::{collections::BTreeMap, fmt};

/// A Kubernetes pod, as reports name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node it runs on.
    pub node: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// `namespace/name`
impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
