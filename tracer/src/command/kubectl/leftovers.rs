//! Jobs that an earlier run of the same user has left: it was killed, or lost its connection.

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use serde_json::{Value, json};

use super::{
    manifest::{MANAGED_BY, OWNER, PROCESS, Session, in_url},
    nodes::is_proper,
};
use crate::cluster::source::api::client::{Client, RequestError};

/// The names of Jobs that no running process of this machine and user answers for.
pub(super) async fn find(client: &Client, session: &Session) -> Result<Vec<String>, RequestError> {
    let selector = in_url(&format!("{MANAGED_BY},{OWNER}={}", session.owner));
    let path = format!("{}?labelSelector={selector}", session.jobs());
    let list = client.get(&path).await?;
    let jobs = list["items"].as_array().into_iter().flatten();
    Ok(jobs
        .filter(|job| !is_run(job))
        .filter_map(|job| job["metadata"]["name"].as_str())
        // It goes into a URL, and to the terminal.
        .filter(|name| is_proper(name))
        .map(str::to_owned)
        .collect())
}

/// Whether the process that has created a Job is still there.
fn is_run(job: &Value) -> bool {
    let pid = job["metadata"]["labels"][PROCESS].as_str();
    let pid = pid.and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 0);
    pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

/// Deletes a Job, and its pod with it. That it is gone already is no failure.
pub(super) async fn delete(
    client: &Client,
    session: &Session,
    job: &str,
) -> Result<(), RequestError> {
    let options =
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    match client
        .delete(&format!("{}/{job}", session.jobs()), &options)
        .await
    {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
