use std::fs;

use tempfile::TempDir;

use super::*;

fn option(path: &Path) -> ClusterConfig {
    ClusterConfig {
        kubeconfig: Some(path.to_owned()),
        ..ClusterConfig::default()
    }
}

fn refused(text: &str) -> String {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config");
    fs::write(&path, text).unwrap();
    let error = Place::Option(path).access().unwrap_err().to_string();
    error.replace(dir.path().to_str().unwrap(), "DIR")
}

#[test]
fn the_option_is_the_only_place_and_no_kube_is_none() {
    let path = Path::new("/nowhere/config");
    let given = option(path);
    assert_eq!(places(&given), [Place::Option(path.to_owned())]);
    let nobody = ClusterConfig {
        no_kube: true,
        ..ClusterConfig::default()
    };
    assert_eq!(places(&nobody), []);
}

#[test]
fn what_somebody_points_at_comes_before_what_a_node_has() {
    let dir = TempDir::new().unwrap();
    let file = |name: &str| {
        let path = dir.path().join(name);
        fs::write(&path, "").unwrap();
        path
    };
    let (home, node) = (file("home"), file("node"));
    let not_there = dir.path().join("not-there");
    let environment = vec![not_there.clone()];
    assert_eq!(
        in_order(environment.clone(), true, Some(&home), &[&not_there, &node]),
        [
            Place::Environment(environment),
            Place::InCluster,
            Place::Home(home),
            Place::Node(node)
        ]
    );
    assert_eq!(in_order(Vec::new(), false, Some(&not_there), &[]), []);
}

#[test]
fn a_useless_kubeconfig_is_refused_with_the_reason_and_the_way_out() {
    let missing = Place::Option("/nowhere/config".into()).access();
    insta::assert_snapshot!(missing.unwrap_err(), @"--kubeconfig /nowhere/config: it cannot be read: No such file or directory (os error 2); give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or ask nobody with --no-kube");
    insta::assert_snapshot!(refused(""), @"--kubeconfig DIR/config: it has no current-context; give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or ask nobody with --no-kube");
    insta::assert_snapshot!(refused("clusters: 5"), @"--kubeconfig DIR/config: it is no kubeconfig: error: line 1 column 11: expected sequence start; give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or ask nobody with --no-kube");
    let context = "current-context: prod\ncontexts: []\n";
    insta::assert_snapshot!(refused(context), @r#"--kubeconfig DIR/config: its current-context is "prod", which is not among its contexts; give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or ask nobody with --no-kube"#);
    let cluster =
        "current-context: prod\ncontexts:\n- name: prod\n  context: {cluster: a, user: b}\n";
    insta::assert_snapshot!(refused(cluster), @r#"--kubeconfig DIR/config: its context names the cluster "a", which is not in it; give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or ask nobody with --no-kube"#);
}

const GOOD: &str = "current-context: prod
contexts: [{name: prod, context: {cluster: a, user: b}}]
clusters: [{name: a, cluster: {server: 'https://10.0.0.1:6443'}}]
users: [{name: b, user: {token: t}}]
";

#[test]
fn a_guess_that_is_of_no_use_is_passed_over_without_a_word() {
    let dir = TempDir::new().unwrap();
    let (empty, good) = (dir.path().join("empty"), dir.path().join("good"));
    fs::write(&empty, "").unwrap();
    fs::write(&good, GOOD).unwrap();
    let (access, errors) = first(vec![Place::Home(empty.clone()), Place::Node(good)]);
    assert_eq!(
        access.unwrap().config.cluster_url.to_string(),
        "https://10.0.0.1:6443/"
    );
    assert!(errors.is_empty(), "{errors:?}");

    let (access, errors) = first(vec![Place::Environment(vec![empty])]);
    assert!(access.is_none());
    assert!(errors[0].to_string().contains("has no current-context"));
}
