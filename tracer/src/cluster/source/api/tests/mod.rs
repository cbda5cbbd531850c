//! The source of cluster knowledge that asks the API server, against one that replays what a real
//! one has sent.

mod hostile;
mod listener;

use std::{net::IpAddr, time::Duration};

use crate::cluster::{foreign::ForeignKind, history::Holder, objects::ObjectName, view::Kind};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use whydrop_tests::apiserver::{ApiServer, Asked, Manner};

use self::listener::{Listener, without_place};

const KINDS: [(Kind, &str); 6] = [
    (Kind::Pod, "pods"),
    (Kind::Namespace, "namespaces"),
    (Kind::Node, "nodes"),
    (Kind::Service, "services"),
    (Kind::EndpointSlice, "endpointslices"),
    (Kind::NetworkPolicy, "networkpolicies"),
];

#[tokio::test]
async fn everything_is_listed_and_then_followed() -> Result<()> {
    let server = ApiServer::up()?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    assert!(listener.notes.is_empty(), "{:?}", listener.notes);
    let view = listener.cluster.view();
    for (kind, plural) in KINDS {
        assert!(view.knows(kind), "{plural}");
        assert!(!view.names(kind).is_empty(), "{plural}");
    }
    assert_eq!(view.nodes().count(), 2);
    assert!(listener.has(Kind::Pod, "prod", "client-bad"));
    assert!(!listener.has(Kind::NetworkPolicy, "prod", "default-deny"));

    assert!(server.replay("networkpolicies")? > 0);
    assert!(server.replay("pods")? > 0);
    listener
        .until(|now| {
            now.has(Kind::NetworkPolicy, "prod", "default-deny")
                && now.has(Kind::NetworkPolicy, "prod", "allow-dns-egress")
                && !now.has(Kind::Pod, "prod", "client-bad")
        })
        .await?;
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));
    for (kind, plural) in KINDS {
        assert_eq!(listener.lists_of(kind), 1, "{plural}");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_of_several_pages_is_one() -> Result<()> {
    let mut server = ApiServer::up()?;
    server.page_size(1);
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    assert_eq!(listener.lists_of(Kind::Pod), 1);
    assert_eq!(listener.cluster.view().pods().count(), 3);
    let mut pages = 0;
    while pages < 2 {
        let asked = server.next_request().await?;
        pages +=
            usize::from(asked.path.ends_with("/pods") && asked.parameter("continue").is_some());
    }
    Ok(())
}

#[tokio::test]
async fn the_address_of_a_deleted_pod_is_its_successor_s_and_was_its_own() -> Result<()> {
    let server = ApiServer::up()?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    // The recorded pod gets its address before it is deleted; the successor has the same.
    let old = server.object("pods", "prod", "client-bad")?;
    let ip = "10.244.1.77";
    server.change(
        "pods",
        "MODIFIED",
        with_address(old, "client-bad", "old", ip),
    )?;
    let ip: IpAddr = ip.parse()?;
    let before = listener.now;
    listener.until(|now| holder(now, ip).is_some()).await?;

    let while_it_lived = before + Duration::from_secs(10);
    listener.now = before + Duration::from_secs(20);
    server.replay("pods")?;
    listener
        .until(|now| !now.has(Kind::Pod, "prod", "client-bad"))
        .await?;
    let while_unassigned = before + Duration::from_secs(25);
    let gone = listener.cluster.holder(ip, while_unassigned);
    assert!(
        matches!(&gone, Some(Holder::Former(pod, since))
            if pod.id.name == "client-bad" && *since == listener.now),
        "{gone:?}"
    );

    listener.now = before + Duration::from_secs(30);
    let new = server.object("pods", "prod", "client-ok")?;
    let new = with_address(new, "successor", "new", &ip.to_string());
    server.change("pods", "ADDED", new)?;
    listener
        .until(|now| now.has(Kind::Pod, "prod", "successor"))
        .await?;
    assert_eq!(name_at(&listener, ip, while_it_lived), "client-bad");
    assert_eq!(name_at(&listener, ip, listener.now), "successor");
    Ok(())
}

fn with_address(mut pod: Value, name: &str, uid: &str, ip: &str) -> Value {
    pod["metadata"]["name"] = name.into();
    pod["metadata"]["uid"] = uid.into();
    // After everything that was recorded, and before the time of the test.
    pod["metadata"]["creationTimestamp"] = match uid {
        "new" => "2096-10-02T07:07:10Z".into(),
        _ => "2096-10-02T07:00:00Z".into(),
    };
    pod["status"]["phase"] = "Running".into();
    pod["status"]["podIP"] = ip.into();
    pod["status"]["podIPs"] = json!([{"ip": ip}]);
    pod
}

fn holder(listener: &Listener, ip: IpAddr) -> Option<Holder> {
    listener.cluster.holder(ip, listener.now)
}

fn name_at(listener: &Listener, ip: IpAddr, then: std::time::SystemTime) -> String {
    match listener.cluster.holder(ip, then) {
        Some(Holder::Pod(pod)) => pod.id.name.clone(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_too_long_ago_is_listed_again() -> Result<()> {
    let server = ApiServer::up()?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    // Deleted while the watch was broken: only the list shows it.
    server.cut("pods");
    let gone = server.object("pods", "prod", "client-bad")?;
    server.change("pods", "DELETED", gone)?;
    server.expire("pods")?;
    // On a busy machine, the watch may be there again before that, or be cut twice.
    listener
        .until(|now| !now.has(Kind::Pod, "prod", "client-bad") && now.lists_of(Kind::Pod) >= 2)
        .await?;
    assert_eq!(listener.lists_of(Kind::Service), 1);

    // And it is followed on from there.
    server.replay("networkpolicies")?;
    let pod = server.object("pods", "prod", "client-ok")?;
    server.change(
        "pods",
        "ADDED",
        with_address(pod, "later", "later", "10.244.1.78"),
    )?;
    listener
        .until(|now| now.has(Kind::Pod, "prod", "later"))
        .await?;
    // The same said in the midst of a watch.
    server.expire("pods")?;
    listener.until(|now| now.lists_of(Kind::Pod) == 3).await?;
    assert!(listener.notes.is_empty(), "{:?}", listener.notes);
    Ok(())
}

#[tokio::test]
async fn a_cut_watch_goes_on_where_it_ended() -> Result<()> {
    let mut server = ApiServer::up()?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    server.next_watch("pods").await?;
    let pod = server.object("pods", "prod", "client-ok")?;
    let named = |name: &str| with_address(pod.clone(), name, name, "10.244.1.78");
    let seen = server.change("pods", "ADDED", named("first"))?;
    listener
        .until(|now| now.has(Kind::Pod, "prod", "first"))
        .await?;
    server.cut("pods");
    server.change("pods", "ADDED", named("meanwhile"))?;
    assert_eq!(server.next_watch("pods").await?, seen);
    listener
        .until(|now| now.has(Kind::Pod, "prod", "meanwhile"))
        .await?;

    // A bookmark moves on where to resume, though nothing has changed.
    let marked = server.bookmark("pods")?;
    let last = server.change("pods", "DELETED", named("first"))?;
    listener
        .until(|now| !now.has(Kind::Pod, "prod", "first"))
        .await?;
    let bookmarked = server.bookmark("pods")?;
    assert!(marked.parse::<u64>()? < last.parse()? && last.parse::<u64>()? < bookmarked.parse()?);
    server.cut("pods");
    let resumed = server.next_watch("pods").await?;
    // The cut may overtake the bookmark, but nothing that was sent before it.
    assert!([&last, &bookmarked].contains(&&resumed), "{resumed}");
    assert_eq!(listener.lists_of(Kind::Pod), 1);
    Ok(())
}

#[tokio::test]
async fn one_forbidden_kind_is_reported_once_and_the_others_are_known() -> Result<()> {
    let mut server = ApiServer::up()?;
    server.answer("networkpolicies", Manner::Forbidden);
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER forbids system:serviceaccount:ops:whydrop to list networkpolicies (403): they come from other sources, if any; allow it: kubectl create clusterrole whydrop-extra --verb=list,watch --resource=networkpolicies.networking.k8s.io && kubectl create clusterrolebinding whydrop-extra --clusterrole=whydrop-extra --serviceaccount=ops:whydrop");
    let view = listener.cluster.view();
    for (kind, plural) in KINDS {
        assert_eq!(view.knows(kind), kind != Kind::NetworkPolicy, "{plural}");
    }

    // It is asked again; once it is allowed, there is nothing to say.
    let mut asked = 0;
    while asked < 2 {
        let request = server.next_request().await?;
        asked += usize::from(request.path.ends_with("/networkpolicies"));
    }
    server.answer("networkpolicies", Manner::Served);
    listener
        .until(|now| now.cluster.view().knows(Kind::NetworkPolicy))
        .await?;
    assert_eq!(listener.notes.len(), 1, "{:?}", listener.notes);
    Ok(())
}

#[tokio::test]
async fn a_server_that_never_answers_is_reported_once_and_delays_nothing() -> Result<()> {
    let mut server = ApiServer::up()?;
    server.answer_all(Manner::Silent);
    let mut listener = Listener::to(&server)?;
    let pods = |asked: &Asked| asked.path.ends_with("/pods");
    while !pods(&server.next_request().await?) {}
    // From now on time passes as soon as nothing else can happen.
    tokio::time::pause();
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER has not answered within 3 s: until it does, cluster objects come from other sources, if any");
    assert!(listener.listed.is_empty());

    // It is retried, and reported once it answers.
    while !pods(&server.next_request().await?) {}
    tokio::time::resume();
    server.answer_all(Manner::Served);
    listener.until(|now| now.notes.len() > 1).await?;
    insta::assert_snapshot!(without_place(&listener.notes[1]), @"SERVER answers now");
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));
    Ok(())
}

#[tokio::test]
async fn an_expired_token_is_reported_once() -> Result<()> {
    let server = ApiServer::up()?;
    server.answer_all(Manner::Unauthorized);
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER does not accept these credentials (401 Unauthorized): cluster objects come from other sources, if any; the token may have expired: give a kubeconfig with which `kubectl get pods` works by --kubeconfig, or disable cluster lookups with --no-kube");

    // The same when it expires in the course of a trace.
    let server = ApiServer::up()?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    server.answer_all(Manner::Unauthorized);
    for (_, plural) in KINDS {
        server.cut(plural);
    }
    listener.until(|now| !now.notes.is_empty()).await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER does not accept these credentials (401 Unauthorized): cluster objects stay as last seen; the token may have expired: give a kubeconfig with which `kubectl get pods` works by --kubeconfig, or disable cluster lookups with --no-kube");
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));
    Ok(())
}

#[tokio::test]
async fn a_server_that_comes_up_late_is_followed_from_then_on() -> Result<()> {
    let mut server = ApiServer::down()?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @"SERVER does not answer (Connection refused (os error 111)): cluster objects come from other sources, if any; whydrop will retry");
    server.listen()?;
    listener.until(|now| now.notes.len() > 1).await?;
    insta::assert_snapshot!(without_place(&listener.notes[1]), @"SERVER answers now");
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));
    Ok(())
}

#[tokio::test]
async fn an_object_that_makes_no_sense_is_left_out_by_name() -> Result<()> {
    let server = ApiServer::up()?;
    let mut bad = server.object("pods", "prod", "client-ok")?;
    bad["metadata"]["name"] = "broken".into();
    bad["status"]["podIPs"] = "10.0.0.1".into();
    server.change("pods", "ADDED", bad)?;
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    insta::assert_snapshot!(listener.only_note()?, @r#"Pod prod/broken of the API server is left out: invalid type: string "10.0.0.1", expected a sequence"#);
    assert!(listener.has(Kind::Pod, "prod", "client-ok"));

    let mut policy = server.object("networkpolicies", "prod", "server-allow-ok-8080")?;
    policy["metadata"]["name"] = "unreadable".into();
    policy["spec"]["policyTypes"] = json!(["Sideways"]);
    server.change("networkpolicies", "ADDED", policy)?;
    listener.until(|now| now.notes.len() > 1).await?;
    insta::assert_snapshot!(listener.notes[1], @r#"NetworkPolicy prod/unreadable of the API server is left out: policyTypes: "Sideways" is neither Ingress nor Egress"#);
    let unreadable = ObjectName::new("prod", "unreadable");
    listener
        .until(|now| {
            now.cluster
                .view()
                .unreadable_in(Kind::NetworkPolicy, "prod")
                .any(|id| *id == (&unreadable).into())
        })
        .await
}

#[tokio::test]
async fn policies_of_other_kinds_are_counted() -> Result<()> {
    let server = ApiServer::up()?;
    let version = json!({"groupVersion": "cilium.io/v2", "version": "v2"});
    server.page(
        "/apis",
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [
            {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]},
            {"name": "cilium.io", "versions": [version], "preferredVersion": version},
        ]}),
    );
    let kind = |name: &str, kind: &str| json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["list"]});
    server.page(
        "/apis/cilium.io/v2",
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "cilium.io/v2",
        "resources": [
            kind("ciliumnetworkpolicies", "CiliumNetworkPolicy"),
            kind("ciliumnetworkpolicies/status", "CiliumNetworkPolicy"),
            kind("ciliumendpoints", "CiliumEndpoint"),
            kind("ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy"),
        ]}),
    );
    server.page(
        "/apis/cilium.io/v2/ciliumnetworkpolicies",
        json!({"kind": "CiliumNetworkPolicyList", "apiVersion": "cilium.io/v2",
            "metadata": {"continue": "x", "remainingItemCount": 41}, "items": [{}]}),
    );
    let mut listener = Listener::to(&server)?;
    listener.until_settled().await?;
    let foreign = listener.cluster.view().foreign_policies();
    let kind = ForeignKind::known("CiliumNetworkPolicy", "cilium.io").context("a known kind")?;
    let counted = foreign.get(&kind);
    assert_eq!(counted.copied().context("not counted")?, 42);
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    // The list of the other is not to be had (404 here; 403 with a narrow role).
    insta::assert_snapshot!(listener.only_note()?, @"this cluster can have policies of the kind CiliumClusterwideNetworkPolicy (cilium.io), which whydrop does not judge and may not count");
    Ok(())
}
