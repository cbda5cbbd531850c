//! A cluster around a lab: its objects as `kubectl` writes them, and an enforcer of its policies.

mod enforcer;
mod selector;
mod service;

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde_json::{Value, json};

pub use self::{
    enforcer::enforce,
    service::{refuse_service, service},
};

/// A pod, and the address that a namespace of the lab has.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Its address.
    pub ip: IpAddr,
    /// The node it runs on.
    pub node: String,
}

impl Pod {
    /// A pod `namespace/name` with labels such as `app=web,tier=front`.
    pub fn new(id: &str, labels: &str, ip: IpAddr, node: &str) -> Self {
        let (namespace, name) = id.split_once('/').expect("namespace/name");
        let pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            ip,
            node: node.to_owned(),
        }
    }

    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The objects of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// The pods.
    pub pods: Vec<Pod>,
    /// NetworkPolicies, as the API has them.
    pub policies: Vec<Value>,
    /// Any others.
    pub others: Vec<Value>,
}

impl Objects {
    /// All of them as one list.
    pub fn list(&self) -> Value {
        let mut items = Vec::new();
        let mut namespaces: Vec<&str> = self.pods.iter().map(|pod| &*pod.namespace).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        for name in namespaces {
            items.push(json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
            }));
        }
        items.extend(self.pods.iter().map(pod));
        items.extend(self.policies.iter().cloned());
        items.extend(self.others.iter().cloned());
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }

    /// Writes them to a file of this directory, and returns its path.
    pub fn write(&self, directory: &Path, name: &str) -> Result<PathBuf> {
        let path = directory.join(name);
        fs::write(&path, serde_json::to_vec_pretty(&self.list())?)?;
        Ok(path)
    }
}

fn pod(pod: &Pod) -> Value {
    let labels: serde_json::Map<String, Value> = pod
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "labels": labels},
        "spec": {"nodeName": pod.node, "containers": []},
        "status": {
            "phase": "Running",
            "podIP": pod.ip.to_string(),
            "podIPs": [{"ip": pod.ip.to_string()}],
        },
    })
}
