use super::*;

fn health() -> Health {
    let mut health = Health::new("the API server https://k:6443 (/root/.kube/config)".to_owned());
    assert!(texts(health.looked_for_foreign()).is_empty());
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
    let reported: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| texts(health.set_state(*kind, State::Known)))
        .collect();
    assert_eq!(reported, ["Settled"]);
    assert!(health.overdue(3).is_empty());
}

#[test]
fn the_wait_lasts_until_policies_of_other_kinds_were_looked_for() {
    let mut health = Health::new(String::new());
    for kind in KINDS {
        assert!(health.set_state(kind, State::Known).is_empty());
    }
    assert_eq!(texts(health.looked_for_foreign()), ["Settled"]);
}

#[test]
fn an_unreachable_server_is_reported_once_and_once_when_it_is_back() {
    let mut health = health();
    let reported: Vec<_> = KINDS
        .iter()
        .chain(&KINDS)
        .flat_map(|kind| texts(health.set_state(*kind, unreachable())))
        .collect();
    insta::assert_snapshot!(reported.join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) does not answer (Connection refused): cluster objects come from other sources, if any; whydrop will retry
    Settled
    ");
    let reported: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| texts(health.set_state(*kind, State::Known)))
        .collect();
    insta::assert_snapshot!(reported.join("\n"), @"the API server https://k:6443 (/root/.kube/config) answers now");
    // And anew when it is lost again.
    assert_eq!(health.set_state(Kind::Pod, unreachable()).len(), 1);
}

#[test]
fn what_is_forbidden_is_reported_together_with_the_fix() {
    let mut health = health();
    let user = Some("system:serviceaccount:ops:probe".to_owned());
    let mut reported = Vec::new();
    for kind in KINDS {
        let state = match kind {
            Kind::Pod | Kind::NetworkPolicy => failed(Failure::Forbidden(user.clone())),
            _ => State::Known,
        };
        reported.extend(texts(health.set_state(kind, state.clone())));
        // It is tried again, and not reported again.
        reported.extend(texts(health.set_state(kind, state)));
    }
    insta::assert_snapshot!(reported.join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) forbids system:serviceaccount:ops:probe to list pods, networkpolicies (403): they come from other sources, if any; allow it: kubectl create clusterrole whydrop-extra --verb=list,watch --resource=pods,networkpolicies.networking.k8s.io && kubectl create clusterrolebinding whydrop-extra --clusterrole=whydrop-extra --serviceaccount=ops:probe
    Settled
    ");
}

#[test]
fn the_role_of_the_kubelet_is_never_to_be_extended() {
    let mut health = health();
    let user = Some("system:node:n1".to_owned());
    let reported: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| texts(health.set_state(*kind, failed(Failure::Forbidden(user.clone())))))
        .collect();
    insta::assert_snapshot!(reported.join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) forbids system:node:n1 to list pods, namespaces, nodes, services, endpointslices, networkpolicies (403): they come from other sources, if any; use --kubeconfig with credentials that may list them
    Settled
    ");
}

#[test]
fn rejected_credentials_are_reported_once() {
    let mut health = health();
    let reported: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| {
            let failure = Failure::Unauthorized("401 Unauthorized".to_owned());
            texts(health.set_state(*kind, failed(failure)))
        })
        .collect();
    insta::assert_snapshot!(reported.join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) does not accept these credentials (401 Unauthorized): cluster objects come from other sources, if any; the token may have expired: give a kubeconfig with which `kubectl get pods` works by --kubeconfig, or disable cluster lookups with --no-kube
    Settled
    ");
}

#[test]
fn the_overdue_note_says_what_is_late() {
    insta::assert_snapshot!(texts(health().overdue(3)).join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) has not answered within 3 s: until it does, cluster objects come from other sources, if any
    Settled
    ");
    let mut health = health();
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Pod) {
        health.set_state(kind, State::Known);
    }
    insta::assert_snapshot!(texts(health.overdue(3)).join("\n"), @"
    the API server https://k:6443 (/root/.kube/config) has not answered within 3 s: until it does, pods come from other sources, if any
    Settled
    ");
    insta::assert_snapshot!(texts(health.set_state(Kind::Pod, State::Known)).join("\n"), @"the API server https://k:6443 (/root/.kube/config) answers now");
}
