//! Which pods a selector of a NetworkPolicy selects: as much of it as the labs' policies need, and a
//! panic for the rest.

use serde_json::Value;

use super::Pod;

/// Whether the labels fit a label selector: `matchLabels`, and `DoesNotExist`.
fn fits(selector: &Value, labels: &[(String, String)]) -> bool {
    let has = |key: &str| {
        labels
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    };
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let without = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    equal
        .into_iter()
        .all(|(key, value)| has(key) == value.as_str())
        && without.into_iter().all(|expression| {
            assert_eq!(expression["operator"], "DoesNotExist", "{expression}");
            has(expression["key"].as_str().expect("a key")).is_none()
        })
}

/// The pods that a policy is for.
pub(super) fn selected<'p>(policy: &Value, pods: &'p [Pod]) -> Vec<&'p Pod> {
    let namespace = policy["metadata"]["namespace"].as_str();
    pods.iter()
        .filter(|pod| Some(pod.namespace.as_str()) == namespace)
        .filter(|pod| fits(&policy["spec"]["podSelector"], &pod.labels))
        .collect()
}

/// The addresses of a rule's `from` or `to`; `None` for all.
pub(super) fn peers(namespace: &str, peers: &Value, pods: &[Pod]) -> Option<Vec<String>> {
    let elements = peers.as_array().filter(|elements| !elements.is_empty())?;
    let mut addresses = Vec::new();
    for element in elements {
        if let Some(net) = element["ipBlock"]["cidr"].as_str() {
            addresses.push(net.to_owned());
            continue;
        }
        let in_namespace = |pod: &Pod| match &element["namespaceSelector"] {
            Value::Null => pod.namespace == namespace,
            selector => {
                let name = "kubernetes.io/metadata.name".to_owned();
                fits(selector, &[(name, pod.namespace.clone())])
            }
        };
        let matching = pods
            .iter()
            .filter(|pod| in_namespace(pod) && fits(&element["podSelector"], &pod.labels));
        addresses.extend(matching.map(|pod| pod.ip.to_string()));
    }
    Some(addresses)
}
