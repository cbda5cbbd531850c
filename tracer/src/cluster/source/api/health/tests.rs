use super::*;

fn health() -> Health {
    let mut health = Health::new("the API server https://k:6443 (/root/.kube/config)".to_owned());
    assert!(texts(health.heard_of_foreign()).is_empty());
    health
}

/// Notes as they are, and the rest by name.
fn texts(changes: Vec<Change>) -> Vec<String> {
    let text = |change| match change {
        Change::Note(note) => note,
        other => format!("{other:?}"),
    };
    changes.into_iter().map(text).collect()
}

fn failed(failure: Failure) -> State {
    State::Failed(Verb::List, failure)
}

fn unreachable() -> State {
    failed(Failure::Unreachable("Connection refused".to_owned()))
}

#[test]
fn all_well_is_no_word() {
    let mut health = health();
    let told: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| texts(health.heard(*kind, State::Known)))
        .collect();
    assert_eq!(told, ["Settled"]);
    assert!(health.overdue(3).is_empty());
}

#[test]
fn nobody_waits_no_longer_while_policies_of_other_kinds_are_looked_for() {
    let mut health = Health::new(String::new());
    for kind in KINDS {
        assert!(health.heard(kind, State::Known).is_empty());
    }
    assert_eq!(texts(health.heard_of_foreign()), ["Settled"]);
}

#[test]
fn an_unreachable_server_is_told_once_and_once_when_it_is_back() {
    let mut health = health();
    let told: Vec<_> = KINDS
        .iter()
        .chain(&KINDS)
        .flat_map(|kind| texts(health.heard(*kind, unreachable())))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) does not answer (Connection refused): cluster objects come from elsewhere or not at all; it is asked again
    Settled
    ");
    let told: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| texts(health.heard(*kind, State::Known)))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"the API server https://k:6443 (/root/.kube/config) answers now");
    // And anew when it is lost again.
    assert_eq!(health.heard(Kind::Pod, unreachable()).len(), 1);
}

#[test]
fn what_is_forbidden_is_told_together_with_the_way_out() {
    let mut health = health();
    let user = Some("system:serviceaccount:ops:probe".to_owned());
    let mut told = Vec::new();
    for kind in KINDS {
        let state = match kind {
            Kind::Pod | Kind::NetworkPolicy => failed(Failure::Forbidden(user.clone())),
            _ => State::Known,
        };
        told.extend(texts(health.heard(kind, state.clone())));
        // It is tried again, and not told again.
        told.extend(texts(health.heard(kind, state)));
    }
    insta::assert_snapshot!(told.join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) forbids system:serviceaccount:ops:probe to list pods, networkpolicies (403): they come from elsewhere or not at all; allow it: kubectl create clusterrole whydrop-extra --verb=list,watch --resource=pods,networkpolicies.networking.k8s.io && kubectl create clusterrolebinding whydrop-extra --clusterrole=whydrop-extra --serviceaccount=ops:probe
    Settled
    ");
}

#[test]
fn nobody_is_told_to_widen_the_role_of_the_kubelet() {
    let mut health = health();
    let user = Some("system:node:n1".to_owned());
    let told: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| texts(health.heard(*kind, failed(Failure::Forbidden(user.clone())))))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) forbids system:node:n1 to list pods, namespaces, nodes, services, endpointslices, networkpolicies (403): they come from elsewhere or not at all; use --kubeconfig with credentials that may list them
    Settled
    ");
}

#[test]
fn credentials_that_are_not_accepted_are_told_once() {
    let mut health = health();
    let told: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| {
            let failure = Failure::Unauthorized("401 Unauthorized".to_owned());
            texts(health.heard(*kind, failed(failure)))
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) does not accept these credentials (401 Unauthorized): cluster objects come from elsewhere or not at all; the token may have expired: give a kubeconfig with which `kubectl get pods` works by --kubeconfig, or ask nobody with --no-kube
    Settled
    ");
}

#[test]
fn who_waits_is_told_what_is_late() {
    insta::assert_snapshot!(texts(health().overdue(3)).join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) has not answered within 3 s: until it does, cluster objects come from elsewhere or not at all
    Settled
    ");
    let mut health = health();
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Pod) {
        health.heard(kind, State::Known);
    }
    insta::assert_snapshot!(texts(health.overdue(3)).join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) has not answered within 3 s: until it does, pods come from elsewhere or not at all
    Settled
    ");
    insta::assert_snapshot!(texts(health.heard(Kind::Pod, State::Known)).join("\n"), @"the API server https://k:6443 (/root/.kube/config) answers now");
}
