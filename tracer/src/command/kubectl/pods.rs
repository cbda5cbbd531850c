//! What keeps a Job's pod from running, in words.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{manifest::Session, nodes::is_proper};
use crate::cluster::source::api::client::{Client, plain};

/// After how long without a running container that is said.
const PATIENCE: Duration = Duration::from_secs(10);
/// How the kubelet calls an image that cannot be had.
const NO_IMAGE: [&str; 5] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "RegistryUnavailable",
];
/// And a container that cannot be made.
const NO_CONTAINER: [&str; 3] = [
    "CreateContainerError",
    "CreateContainerConfigError",
    "RunContainerError",
];
/// What a container has ended with that could not be started: there is no such program in its image.
const NOT_STARTED: [&str; 2] = ["StartError", "ContainerCannotRun"];

/// How far a pod has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is not there, or its container is not running yet.
    Waiting,
    /// Its container runs, or has run.
    Runs,
    /// Its image cannot be pulled. Why, in the kubelet's words.
    NoImage(String),
    /// It will never run. Why, in words, with what helps.
    Stuck(String),
}

/// How far a pod has got, by its object.
pub(super) fn progress(pod: &Value) -> Progress {
    let status = &pod["status"];
    let containers = status["containerStatuses"].as_array().into_iter().flatten();
    for container in containers {
        let state = &container["state"];
        let ended = &state["terminated"];
        let reason = ended["reason"].as_str().unwrap_or_default();
        if NOT_STARTED.contains(&reason) {
            let message = plain(ended["message"].as_str().unwrap_or(reason));
            return Progress::Stuck(format!("its container cannot be started: {message}"));
        }
        if state["running"].is_object() || state["terminated"].is_object() {
            return Progress::Runs;
        }
        let waiting = &state["waiting"];
        let reason = waiting["reason"].as_str().unwrap_or_default();
        let message = plain(waiting["message"].as_str().unwrap_or(reason));
        if NO_IMAGE.contains(&reason) {
            return Progress::NoImage(message);
        }
        if NO_CONTAINER.contains(&reason) {
            return Progress::Stuck(format!("its container cannot be started: {message}"));
        }
    }
    if status["phase"] == "Failed" {
        let reason = status["reason"].as_str().unwrap_or("no reason is given");
        let message = status["message"].as_str().unwrap_or_default();
        return Progress::Stuck(format!(
            "the kubelet does not take it: {} {}",
            plain(reason),
            plain(message)
        ));
    }
    Progress::Waiting
}

/// Why a node cannot be traced, with what can be done where nothing can be pulled: lines.
pub(super) fn by_hand(why: Option<&str>, node: &str) -> Vec<String> {
    let why = why.map(|why| format!("{why}. ")).unwrap_or_default();
    vec![
        format!(
            "{why}Name an image that the node can get with --image (and --image-pull-secret), or one that it \
             has, with a shell, with --stream-into; or run whydrop by hand and join the traces:"
        ),
        format!("  scp whydrop {node}: && ssh {node} sudo ./whydrop TO -o json > {node}.jsonl"),
        "  whydrop join *.jsonl".to_owned(),
    ]
}

/// Why a Job has not got a running pod after a while; `None` before that.
pub(super) async fn delay(
    client: &Client,
    session: &Session,
    job: &str,
    pod: Option<&Value>,
    since: Instant,
) -> Option<String> {
    if since.elapsed() < PATIENCE {
        return None;
    }
    // The Job controller says there why it cannot make a pod.
    let named = pod.and_then(|pod| pod["metadata"]["name"].as_str());
    let about = named.filter(|name| is_proper(name)).unwrap_or(job);
    let path = format!(
        "/api/v1/namespaces/{}/events?fieldSelector=involvedObject.name%3D{about}",
        session.namespace
    );
    let events = client.get(&path).await.unwrap_or_default();
    let events = events["items"].as_array().into_iter().flatten();
    let mut warnings = events.filter(|event| event["type"] == "Warning");
    let said = warnings
        .next_back()
        .and_then(|event| event["message"].as_str());
    Some(match (said, pod) {
        (Some(message), _) => plain(message),
        (None, Some(_)) => {
            "its pod is not running yet: the image is being pulled, or the kubelet does \
                            not answer"
                .to_owned()
        }
        (None, None) => {
            "the Job has no pod yet: the Job controller does not answer, or a policy refuses \
                         its pod"
                .to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(state: &Value) -> Progress {
        let pod = json!({"status": {"phase": "Pending", "containerStatuses": [{"state": state}]}});
        progress(&pod)
    }

    #[test]
    fn what_cannot_be_pulled_or_started_is_said_in_the_kubelets_words() {
        let message = "dial tcp: i/o timeout\u{1b}[2J";
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": message}});
        let Progress::NoImage(why) = of(&state) else {
            panic!("it has an image");
        };
        assert!(
            why.contains("i/o timeout") && !why.contains('\u{1b}'),
            "{why}"
        );
        let message = "exec: \"/bin/sh\": no such file or directory";
        let state = json!({"terminated": {"reason": "StartError", "message": message}});
        assert!(matches!(of(&state), Progress::Stuck(why) if why.contains("/bin/sh")));
    }

    #[test]
    fn a_container_that_is_being_made_is_waited_for() {
        let making = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(of(&making), Progress::Waiting);
        assert_eq!(of(&json!({"running": {}})), Progress::Runs);
        assert_eq!(of(&json!({"terminated": {"exitCode": 0}})), Progress::Runs);
        assert_eq!(progress(&json!({})), Progress::Waiting);
    }
}
