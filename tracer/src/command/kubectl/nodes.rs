//! Nodes that no trace can run on: known before anything is created.

use anyhow::{Result, bail};
use serde_json::Value;

use super::stream::images_of;
use crate::cluster::source::api::client::{Client, RequestError, plain};

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    /// SELinux decides on it what a container may do.
    pub(super) selinux: bool,
    /// Its kubelet does not answer, in words.
    pub(super) not_ready: Option<String>,
    /// `amd64` or `arm64`; empty if it is not known.
    pub(super) architecture: String,
    /// Images that it says it has; `None` if it could not be asked.
    pub(super) images: Option<Vec<String>>,
}

/// Looks at the nodes; those of kinds that cannot be traced on are refused.
///
/// # Errors
///
/// No trace can run on one of them; the message says what can be done instead.
pub(super) async fn look(client: &Client, names: &[String]) -> Result<Vec<Node>> {
    let mut nodes = Vec::new();
    for name in names {
        // It goes into a URL, and into commands that are shown.
        if !is_proper(name) {
            bail!("{} is not the name of a node", plain(name));
        }
        let found = client.get(&format!("/api/v1/nodes/{name}")).await;
        match found {
            Ok(object) => nodes.push(judge(name, &object)?),
            Err(error) if error.is_not_found() => bail!(
                "there is no node {}: `kubectl get nodes` lists them",
                plain(name)
            ),
            // A user of one namespace may not look at nodes, and can trace on them all the same.
            Err(RequestError::Refused { code: 403, .. }) => nodes.push(Node {
                name: name.clone(),
                selinux: false,
                not_ready: None,
                architecture: String::new(),
                images: None,
            }),
            Err(error) => bail!("cannot look at node {}: {error}", plain(name)),
        }
    }
    Ok(nodes)
}

/// Whether it is a DNS subdomain, as names of nodes and namespaces are.
pub(super) fn is_proper(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    (1..=253).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with(['-', '.'])
        && !name.contains("..")
}

fn judge(name: &str, object: &Value) -> Result<Node> {
    let label = |key: &str| {
        object["metadata"]["labels"][key]
            .as_str()
            .unwrap_or_default()
    };
    let info = |key: &str| {
        object["status"]["nodeInfo"][key]
            .as_str()
            .unwrap_or_default()
    };
    let taints = object["spec"]["taints"].as_array().into_iter().flatten();
    let is_virtual = label("type") == "virtual-kubelet"
        || label("kubernetes.io/role") == "agent" && label("type").starts_with("virtual")
        || taints
            .filter_map(|taint| taint["key"].as_str())
            .any(|key| key == "virtual-kubelet.io/provider")
        || info("kubeletVersion").contains("vk-");
    let shown = plain(name);
    let other_end = "trace the other end only, with --node";
    if label("eks.amazonaws.com/compute-type") == "fargate" {
        bail!(
            "node {shown} is AWS Fargate: it has no kernel that could be traced, and takes no Job for \
             a node; {other_end}, or run the pod on EC2 nodes"
        );
    }
    if is_virtual {
        bail!(
            "node {shown} is a virtual kubelet, and no machine that could be traced; {other_end}"
        );
    }
    let os = match label("kubernetes.io/os") {
        "" => info("operatingSystem"),
        os => os,
    };
    if os.eq_ignore_ascii_case("windows") {
        bail!("node {shown} runs Windows: whydrop traces Linux kernels; {other_end}");
    }
    if name.starts_with("gk3-") || !label("cloud.google.com/gke-autopilot").is_empty() {
        bail!(
            "node {shown} is of GKE Autopilot, which admits no pod that sees its node; use a Standard \
             cluster, or {other_end}"
        );
    }
    let architecture = info("architecture");
    if !matches!(architecture, "" | "amd64" | "arm64") {
        bail!(
            "node {shown} is {}: whydrop is built for amd64 and arm64; {other_end}",
            plain(architecture)
        );
    }
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| condition["type"] == "Ready");
    let not_ready = ready.filter(|ready| ready["status"] != "True").map(|ready| {
        let why = ready["message"].as_str().unwrap_or("no reason is given");
        format!(
            "node {shown} is not ready ({}): the Job may not start; on the node itself, run whydrop \
             by hand and `whydrop join` the traces",
            plain(why)
        )
    });
    let image = info("osImage");
    let enforcing = [
        "Red Hat",
        "CoreOS",
        "CentOS",
        "Fedora",
        "Rocky",
        "AlmaLinux",
    ];
    Ok(Node {
        name: name.to_owned(),
        selinux: enforcing.iter().any(|name| image.contains(name)),
        not_ready,
        architecture: architecture.to_owned(),
        images: Some(images_of(object)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(labels: &Value, more: &Value) -> Result<Node> {
        let mut node = json!({"metadata": {"labels": labels}, "status": {"nodeInfo": {}}});
        if let (Some(node), Some(more)) = (node.as_object_mut(), more.as_object()) {
            node.extend(more.clone());
        }
        judge("n1", &node)
    }

    #[test]
    fn kinds_that_cannot_be_traced_on_are_refused_with_a_way_out() {
        let refused = [
            (
                json!({"eks.amazonaws.com/compute-type": "fargate"}),
                json!({}),
                "Fargate",
            ),
            (
                json!({"type": "virtual-kubelet"}),
                json!({}),
                "virtual kubelet",
            ),
            (
                json!({}),
                json!({"spec": {"taints": [{"key": "virtual-kubelet.io/provider"}]}}),
                "virtual kubelet",
            ),
            (json!({"kubernetes.io/os": "windows"}), json!({}), "Windows"),
            (
                json!({}),
                json!({"status": {"nodeInfo": {"architecture": "s390x"}}}),
                "s390x",
            ),
        ];
        for (labels, more, word) in refused {
            let error = of(&labels, &more).expect_err(word).to_string();
            assert!(error.contains(word) && error.contains("--node"), "{error}");
        }
        let fit = of(&json!({"kubernetes.io/os": "linux"}), &json!({})).expect("a node");
        assert_eq!((fit.selinux, fit.not_ready), (false, None));
    }

    #[test]
    fn a_name_leads_to_no_other_path() {
        assert!(is_proper("ip-10-0-0-1.eu-west-1.compute.internal"));
        for name in ["", "..", "a/b", "a?b", "a b", "-a", "a..b", "A", "a;id"] {
            assert!(!is_proper(name), "{name}");
        }
    }

    #[test]
    fn a_node_that_is_not_ready_is_told_from_one_that_is() {
        let conditions = json!({"status": {"conditions": [
            {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting\u{1b}[31m"},
        ]}});
        let node = of(&json!({}), &conditions).expect("a node");
        let why = node.not_ready.expect("not ready");
        assert!(
            why.contains("stopped posting") && !why.contains('\u{1b}'),
            "{why}"
        );
        let image =
            json!({"status": {"nodeInfo": {"osImage": "Red Hat Enterprise Linux CoreOS 9"}}});
        assert!(of(&json!({}), &image).expect("a node").selinux);
    }
}
