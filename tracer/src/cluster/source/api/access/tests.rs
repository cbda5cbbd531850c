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
    let disabled = ClusterConfig {
        no_kube: true,
        ..ClusterConfig::default()
    };
    assert_eq!(places(&disabled), []);
}

#[test]
fn explicit_kubeconfigs_come_before_those_of_the_node() {
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
    insta::assert_snapshot!(missing.unwrap_err(), @"--kubeconfig /nowhere/config: it cannot be read: No such file or directory (os error 2); give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or disable cluster lookups with --no-kube");
    insta::assert_snapshot!(refused(""), @"--kubeconfig DIR/config: it has no current-context; give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or disable cluster lookups with --no-kube");
    insta::assert_snapshot!(refused("clusters: 5"), @"--kubeconfig DIR/config: it is not a kubeconfig: line 1, column 11; give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or disable cluster lookups with --no-kube");
    let context = "current-context: prod\ncontexts: []\n";
    insta::assert_snapshot!(refused(context), @r#"--kubeconfig DIR/config: its current-context is "prod", which is not among its contexts; give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or disable cluster lookups with --no-kube"#);
    let cluster =
        "current-context: prod\ncontexts:\n- name: prod\n  context: {cluster: a, user: b}\n";
    insta::assert_snapshot!(refused(cluster), @r#"--kubeconfig DIR/config: its context names the cluster "a", which is not in it; give a file with which `kubectl --kubeconfig FILE get pods` works, or leave --kubeconfig out and have one looked for, or disable cluster lookups with --no-kube"#);
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
    let name = access.unwrap().name();
    assert!(name.starts_with("https://10.0.0.1:6443 ("), "{name}");
    assert!(errors.is_empty(), "{errors:?}");

    let (access, errors) = first(vec![Place::Environment(vec![empty])]);
    assert!(access.is_none());
    assert!(errors[0].to_string().contains("has no current-context"));
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_kubeconfig_that_every_user_can_write_is_refused_with_the_reason() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config");
    fs::write(&path, GOOD).unwrap();
    let refused = |place: Place| place.access().unwrap_err().to_string();
    set_mode(&path, 0o646);
    let error = refused(Place::Option(path.clone()));
    assert!(error.contains("every user can write it"), "{error}");
    assert!(
        error.contains(&format!("chmod o-w {}", path.display())),
        "{error}"
    );
    // Also where it was only found; and by the directory it is in, unless that keeps files.
    let (access, errors) = first(vec![Place::Home(path.clone())]);
    assert!(access.is_none() && errors.len() == 1, "{errors:?}");
    set_mode(&path, 0o644);
    set_mode(dir.path(), 0o777);
    let error = refused(Place::Environment(vec![path.clone()]));
    assert!(
        error.contains("every user can write to its directory"),
        "{error}"
    );
    set_mode(dir.path(), 0o1777);
    assert!(Place::Option(path).access().is_ok());
}

#[test]
fn a_kubeconfig_is_a_file_or_a_pipe_and_small() {
    let why = |path: &str| {
        let error = Place::Option(path.into()).access().unwrap_err();
        error.to_string()
    };
    assert!(why("/dev/zero").contains("it is not a file"));
    assert!(why("/").contains("it is not a file"));
    let big = "#".repeat(5 << 20);
    assert!(refused(&big).contains("it is larger than 4 MiB"));
    let token = "current-context: p
contexts: [{name: p, context: {cluster: a, user: b}}]
clusters: [{name: a, cluster: {server: 'https://10.0.0.1'}}]
users: [{name: b, user: {tokenFile: /dev/zero}}]
";
    let error = refused(token);
    assert!(
        error.contains("its tokenFile /dev/zero is not a file"),
        "{error}"
    );
}

#[test]
fn nothing_secret_is_in_what_is_said_of_a_kubeconfig() {
    let with = |server: &str, user: &str| {
        format!(
            "current-context: p
contexts: [{{name: p, context: {{cluster: a, user: b}}}}]
clusters: [{{name: a, cluster: {{server: '{server}'}}}}]
users: [{{name: b, user: {user}}}]
"
        )
    };
    let plain = "https://10.0.0.1";
    for text in [
        with("http://LEAKUSER:LEAKPASS@ bad", "{}"),
        with(plain, "{token: [LEAK]}"),
        with(
            plain,
            "{auth-provider: {name: gcp, config: {cmd-path: /LEAK}}}",
        ),
        with(plain, "{exec: {command: x, args: LEAK}}"),
        "users: LEAK".to_owned(),
    ] {
        let error = refused(&text);
        assert!(!error.contains("LEAK"), "{error}");
    }
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config");
    let text = with(
        "http://LEAKUSER:LEAKPASS@10.0.0.1:80/x?LEAK=1",
        "{token: LEAK}",
    );
    fs::write(&path, text).unwrap();
    let access = Place::Option(path).access().unwrap();
    let name = access.name();
    assert!(name.starts_with("http://10.0.0.1:80/x ("), "{name}");
    assert!(!format!("{access:?}").contains("LEAK"));
}

/// Nothing that it names is run or asked.
#[test]
fn fuzz_kubeconfig() {
    let exec = GOOD.replace(
        "{token: t}",
        "{exec: {apiVersion: v1, command: sh, args: [-c, LEAK], env: [{name: A, value: LEAK}]}}",
    );
    let files = GOOD.replace(
        "{token: t}",
        "{tokenFile: /nowhere, client-certificate-data: QQ==, client-key-data: QQ==}",
    );
    let corpus = [GOOD, &exec, &files].map(str::as_bytes);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("config");
    crate::fuzz::run("kubeconfig", &corpus, |input| {
        fs::write(&path, input).unwrap();
        match Place::Option(path.clone()).access() {
            Ok(access) => assert!(!format!("{access:?}").contains("LEAK")),
            Err(error) => assert!(error.to_string().len() < 4096, "{error}"),
        }
    });
}
