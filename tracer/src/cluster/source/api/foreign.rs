//! Policies of kinds that only a CNI plugin knows: that there are any, and how many.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::{
    Client,
    api::{ListParams, Request},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::cluster::{
    dump::is_foreign_policy,
    update::{Change, Sink},
};

/// A list of which only the length matters.
#[derive(Deserialize)]
struct Count {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<Value>,
}

/// How long all of it may take, and how long to wait before asking again.
const ANSWER: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(30);

/// Tells which of these kinds the API server has, and how many objects of each. `tried` hears when
/// that was done, or could not be done; it is tried again, since whoever hears no number may take
/// it for none.
pub(super) async fn run(client: Client, sink: Sink, tried: oneshot::Sender<()>) {
    let mut tried = Some(tried);
    loop {
        let told = timeout(ANSWER, tell(&client, &sink)).await;
        if let Some(tried) = tried.take() {
            tried.send(()).ok();
        }
        match told {
            Ok(Ok(())) => return,
            // What is wrong is said of the six kinds.
            Ok(Err(_)) | Err(_) => sleep(RETRY).await,
        }
    }
}

async fn tell(client: &Client, sink: &Sink) -> kube::Result<()> {
    let groups = client.list_api_groups().await?;
    for group in groups.groups {
        let version = group.preferred_version.as_ref();
        let version = version.or(group.versions.first());
        let Some(version) = version.filter(|_| is_foreign_policy("NetworkPolicy", &group.name))
        else {
            continue;
        };
        let version = &version.group_version;
        let resources = client.list_api_group_resources(version).await?;
        for resource in resources.resources {
            // `pods/log` and its like are no kinds of their own.
            if !is_foreign_policy(&resource.kind, &group.name) || resource.name.contains('/') {
                continue;
            }
            let kind = format!("{} ({})", resource.kind, group.name);
            match count(client, &format!("/apis/{version}/{}", resource.name)).await {
                Ok(0) => {}
                Ok(count) => {
                    sink.tell(Change::ForeignPolicies(kind, count));
                }
                Err(_) => {
                    sink.tell(Change::Note(format!(
                        "this cluster can have policies of the kind {kind}, which whydrop does \
                         not judge and may not count"
                    )));
                }
            }
        }
    }
    Ok(())
}

async fn count(client: &Client, path: &str) -> kube::Result<usize> {
    let request = Request::new(path)
        .list(&ListParams::default().limit(1))
        .map_err(kube::Error::BuildRequest)?;
    let list: Count = client.request(request).await?;
    let more = list.metadata.remaining_item_count.unwrap_or_default();
    Ok(list.items.len() + usize::try_from(more).unwrap_or_default())
}
