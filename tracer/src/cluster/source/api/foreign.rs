//! Policies of kinds that are not judged here: that there are any, and how many.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIGroupList, APIResourceList, ListMeta};
use kube::api::{ListParams, Request};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::cluster::{
    foreign::{ForeignKind, HeededBy, selects_pods},
    item::printable,
    source::sink::Sink,
    update::Change,
};

use super::{failure::Failure, server::Server};

/// A list of which only the length and the first object matter.
#[derive(Deserialize)]
struct Count {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Vec<Value>,
}

/// How many API groups are looked through. A cluster with every operator there is has fewer.
const GROUPS: usize = 300;
/// How long all of it may take, and how long to wait before asking again.
const ANSWER: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(30);

/// Reports which of these kinds the API server has, and how many objects of each. `tried` is
/// notified after the first try. A failed one is repeated, since an unknown number must not be taken
/// for zero.
pub(super) async fn run(server: Server, sink: Sink, tried: oneshot::Sender<()>) {
    let mut tried = Some(tried);
    loop {
        let reported = timeout(ANSWER, report(&server, &sink)).await;
        if let Some(tried) = tried.take() {
            tried.send(()).ok();
        }
        match reported {
            Ok(Ok(())) => return,
            // What is wrong is said of the six kinds.
            Ok(Err(_)) | Err(_) => sleep(RETRY).await,
        }
    }
}

async fn report(server: &Server, sink: &Sink) -> Result<(), Failure> {
    let groups: APIGroupList = server.json(get("/apis")?).await?;
    // Kubernetes' own groups have no dot, or its domain.
    let has_foreign_kinds = |group: &str| {
        ForeignKind::known("NetworkPolicy", group).is_some()
            || ForeignKind::suspected("Policy", group).is_some()
    };
    let groups = groups.groups.into_iter();
    for group in groups
        .filter(|group| has_foreign_kinds(&group.name))
        .take(GROUPS)
    {
        let version = group.preferred_version.as_ref();
        let Some(version) = version.or(group.versions.first()) else {
            continue;
        };
        let version = &version.group_version;
        let path = format!("/apis/{version}");
        let resources: APIResourceList = server.json(get(&path)?).await?;
        for resource in resources.resources {
            // `pods/log` and its like are no kinds of their own.
            if resource.name.contains('/') {
                continue;
            }
            let known = ForeignKind::known(&resource.kind, &group.name);
            let kind = known.or_else(|| ForeignKind::suspected(&resource.kind, &group.name));
            let Some(kind) = kind else { continue };
            let path = format!("/apis/{version}/{}", resource.name);
            if let Some(change) = count(server, &path, kind).await {
                sink.send(change).await;
            }
        }
    }
    Ok(())
}

/// A request for what is at a path.
fn get(path: &str) -> Result<http::Request<Vec<u8>>, Failure> {
    let request = http::Request::get(path).body(Vec::new());
    request.map_err(|_| Failure::Refused("its groups have no proper names".to_owned()))
}

/// How many objects there are of a kind, if there are any and they decide about traffic.
async fn count(server: &Server, path: &str, kind: ForeignKind) -> Option<Change> {
    let request = Request::new(path).list(&ListParams::default().limit(1));
    let is_suspect = kind.heeded_by == HeededBy::Something;
    let list: Count = match server.json(request.ok()?).await {
        Ok(list) => list,
        Err(_) if is_suspect => return None,
        Err(_) => {
            return Some(Change::Note(format!(
                "this cluster can have policies of the kind {}, which whydrop does not judge and \
                 may not count",
                printable(&kind.to_string())
            )));
        }
    };
    let first = list.items.first()?;
    if is_suspect && !selects_pods(first) {
        return None;
    }
    let more = list.metadata.remaining_item_count.unwrap_or_default();
    let count = list.items.len() + usize::try_from(more).unwrap_or_default();
    Some(Change::ForeignPolicies(kind, count))
}
