//! What the user may do, and what admission lets in: found out before anything is created.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::manifest::Session;
use crate::cluster::source::api::client::Client;

/// A namespace that takes such pods, for those whose own does not.
const WAY_OUT: &str = "kubectl create namespace whydrop && kubectl label namespace whydrop \
                       pod-security.kubernetes.io/enforce=privileged";

/// What a run needs, or can use.
const NEEDED: [(&str, &str, &str); 6] = [
    ("create", "batch", "jobs"),
    ("delete", "batch", "jobs"),
    ("list", "batch", "jobs"),
    ("list", "", "pods"),
    ("get", "", "pods"),
    ("get", "", "pods/log"),
];

/// Checks that the user may do what is needed.
///
/// # Errors
///
/// Something is forbidden. The message has the command that grants it.
pub(super) async fn check(client: &Client, namespace: &str) -> Result<()> {
    let mut missing = Vec::new();
    for (verb, group, resource) in NEEDED {
        if !may(client, namespace, verb, group, resource).await? {
            missing.push(match group {
                "" => format!("{verb} {resource}"),
                group => format!("{verb} {resource}.{group}"),
            });
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "you may not {} in the namespace {namespace}. An administrator can grant it:\n  \
         kubectl create role whydrop -n {namespace} --verb=create,delete,get,list \
         --resource=jobs.batch,pods,pods/log,pods/attach\n  \
         kubectl create rolebinding whydrop -n {namespace} --role=whydrop --user=NAME\nor use another \
         namespace with --job-namespace",
        missing.join(", ")
    )
}

/// Whether a pod may be attached to: that is how a trace learns that it is still wanted.
pub(super) async fn may_attach(client: &Client, namespace: &str) -> Result<bool> {
    // Which verb stands for it depends on the version of the API server.
    Ok(may(client, namespace, "create", "", "pods/attach").await?
        && may(client, namespace, "get", "", "pods/attach").await?)
}

async fn may(
    client: &Client,
    namespace: &str,
    verb: &str,
    group: &str,
    resource: &str,
) -> Result<bool> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "namespace": namespace, "verb": verb, "group": group,
            "resource": resource, "subresource": subresource,
        }},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    match client.post(path, &review).await {
        Ok(answer) => Ok(answer["status"]["allowed"] == true),
        Err(error) => bail!("cannot ask the API server what you may do: {error}"),
    }
}

/// Has the API server try out the Job and, where the user may create one, its pod.
///
/// # Errors
///
/// It would be refused. The message is admission's own, and has the command that helps.
pub(super) async fn dry_run(client: &Client, session: &Session, job: &Value) -> Result<()> {
    let jobs = format!("{}?dryRun=All", session.jobs());
    if let Err(error) = client.post(&jobs, job).await {
        bail!(
            "the API server would not take the Job: {error}\n{}",
            remedy(&error.to_string(), session)
        );
    }
    // PodSecurity and most policies look at pods alone; the Job would be created, and have none.
    if may(client, &session.namespace, "create", "", "pods").await? {
        let pods = format!("{}?dryRun=All", session.pods());
        if let Err(error) = client.post(&pods, &Session::pod_of(job)).await {
            bail!(
                "the API server would not take the Job's pod: {error}\n{}",
                remedy(&error.to_string(), session)
            );
        }
    }
    Ok(())
}

/// What helps where this is said.
pub(super) fn remedy(message: &str, session: &Session) -> String {
    let namespace = &session.namespace;
    if message.contains("PodSecurity") {
        return format!(
            "A trace sees its node, which the PodSecurity level of the namespace {namespace} forbids. \
             Make a namespace for it, which is then used by itself:\n  {WAY_OUT}"
        );
    }
    if message.contains("security context constraint") {
        return format!(
            "On OpenShift, the Jobs' ServiceAccount needs the SCC `privileged`:\n  oc adm policy \
             add-scc-to-user privileged -z default -n {namespace}"
        );
    }
    if message.contains("exceeded quota") || message.contains("failed quota") {
        return "Use a namespace without that quota: --job-namespace NAME".to_owned();
    }
    if message.contains("not found") && message.contains("namespaces") {
        return format!("Create it:\n  {WAY_OUT}");
    }
    format!(
        "That is the cluster's own policy: have the namespace {namespace} exempted from it, or use \
         another with --job-namespace NAME. `--dry-run` prints what would be created."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_comes_with_what_helps() {
        let session = Session::new("shop".to_owned(), true);
        for (message, word) in [
            (
                "pods \"x\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces",
                "kubectl create namespace whydrop",
            ),
            (
                "unable to validate against any security context constraint: [...]",
                "oc adm policy",
            ),
            ("exceeded quota: compute", "--job-namespace"),
            (
                "admission webhook \"validate.kyverno.svc\" denied the request",
                "exempted",
            ),
        ] {
            let way_out = remedy(message, &session);
            assert!(way_out.contains(word), "{message}: {way_out}");
        }
    }
}
