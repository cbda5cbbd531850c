//! Which of a pod's labels distinguish it from others, and are stable.

use std::collections::BTreeSet;

use crate::cluster::{
    objects::{Labels, Pod},
    view::View,
};

/// Labels that every rollout, or every pod of a workload, has anew.
const FLEETING: [&str; 8] = [
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "controller-uid",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// The labels of a pod that its like in the same rollout will have, too.
pub(in crate::policy) fn lasting(labels: &Labels) -> impl Iterator<Item = (&String, &String)> {
    labels
        .iter()
        .filter(|(key, _)| !FLEETING.contains(&key.as_str()))
}

/// Those of them that the next release will have, too.
pub(in crate::policy) fn stable<'v>(view: &'v View, pod: &'v Pod) -> Vec<(&'v String, &'v String)> {
    let siblings: Vec<&Pod> = view
        .pods_in(&pod.id.namespace)
        .filter(|other| !other.ended && pod.is_sibling_of(other))
        .collect();
    let agree = |key: &String, value: &String| {
        let mut values = siblings.iter().map(|other| other.labels.get(key));
        values.all(|other| other == Some(value))
    };
    lasting(&pod.labels)
        .filter(|(key, value)| !is_of_one_release(key) && agree(key, value))
        .collect()
}

/// Whether a label's name says that its value changes from release to release.
fn is_of_one_release(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key).to_ascii_lowercase();
    let words: BTreeSet<&str> = name.split(['-', '_', '.']).collect();
    let is = |word: &str| words.contains(word);
    key == "helm.sh/chart"
        || name.contains("version")
        || name.contains("revision")
        || name.starts_with("rollout")
        || [
            "hash",
            "id",
            "commit",
            "sha",
            "build",
            "checksum",
            "timestamp",
            "generation",
        ]
        .into_iter()
        .any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_with_each_release_is_known_by_its_name() {
        for key in [
            "app.kubernetes.io/version",
            "version",
            "appVersion",
            "helm.sh/chart",
            "rollout-id",
            "rollouts-pod-template-hash",
            "deployment-id",
            "git-commit",
            "serving.knative.dev/revision",
        ] {
            assert!(is_of_one_release(key), "{key}");
        }
        for key in [
            "app",
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "tier",
            "release",
            "idle",
            "shape",
        ] {
            assert!(!is_of_one_release(key), "{key}");
        }
    }
}
