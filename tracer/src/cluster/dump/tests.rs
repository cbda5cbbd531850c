//! Files of all shapes, whole and broken.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    cluster::{objects::ObjectName, owner::Owner},
    damage,
};

const DUMP: &str = include_str!("../../../testdata/cluster-dump.json");

fn read(texts: &[&str]) -> Result<Loaded, String> {
    let mut loaded = Loaded::default();
    for text in texts {
        loaded
            .read(Path::new("f"), text)
            .map_err(|error| error.to_string())?;
    }
    Ok(loaded)
}

#[test]
fn kubectl_writes_a_list() {
    let Loaded { view, notes, .. } = read(&[DUMP]).expect("readable");
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(view.pods().count(), 2);
    assert_eq!(view.policies_in("prod").count(), 3);
    assert!(matches!(
        view.owner("10.244.1.2".parse().expect("address")),
        Owner::Pod(pod) if pod.id == ObjectName::new("prod", "server")
    ));
    assert!(matches!(
        view.owner("10.96.0.1".parse().expect("address")),
        Owner::Service(_)
    ));
    assert!(matches!(
        view.owner("192.0.2.1".parse().expect("address")),
        Owner::Outside
    ));
}

#[test]
fn yaml_of_several_documents_is_the_same_as_json() {
    let yaml = "\
# a comment
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop, labels: {app: web}}
status: {podIP: 10.0.0.1}
---
---
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: p, namespace: shop}
  spec:
    podSelector: {}
    ingress:
    - ports: [{port: 80, endPort: 90}, {port: http}]
";
    let Loaded { view, notes, .. } = read(&[yaml]).expect("readable");
    assert_eq!(notes, Vec::<String>::new());
    assert!(view.knows(Kind::Pod) && view.knows(Kind::NetworkPolicy));
    assert!(!view.knows(Kind::Namespace));
    assert_eq!(view.policies_in("shop").count(), 1);
}

#[test]
fn a_typed_list_names_the_kind_even_if_it_is_empty() {
    let none = r#"{"kind":"NetworkPolicyList","apiVersion":"networking.k8s.io/v1","items":[]}"#;
    assert!(
        read(&[none])
            .expect("readable")
            .view
            .knows(Kind::NetworkPolicy)
    );
    let other =
        r#"{"kind":"NetworkPolicyList","apiVersion":"crd.projectcalico.org/v1","items":[]}"#;
    assert!(
        !read(&[other])
            .expect("readable")
            .view
            .knows(Kind::NetworkPolicy)
    );
    let pods = r#"{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"a"}}]}"#;
    let view = read(&[pods]).expect("readable").view;
    assert!(view.pod(&ObjectName::new("default", "a")).is_some());
}

#[test]
fn an_object_that_makes_no_sense_is_left_out_and_named() {
    let text = r#"{"kind":"List","apiVersion":"v1","items":[
 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"good"}},
 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"bad"},
  "spec":{"containers":7}},
 {"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"odd","namespace":"shop"},
  "spec":{"podSelector":{"matchExpressions":[{"key":"a","operator":"Near","values":["b"]}]}}},
 {"apiVersion":"v1","kind":"Pod","metadata":{"name":"evil\u001b[2J"}},
 7,
 {"apiVersion":"cilium.io/v2","kind":"CiliumNetworkPolicy","metadata":{"name":"c"}}
]}"#;
    let Loaded { view, notes, .. } = read(&[text]).expect("readable");
    insta::assert_snapshot!(notes.join("\n"), @r#"
    f:4: Pod default/bad is left out: invalid type: integer `7`, expected a sequence
    f:5: NetworkPolicy shop/odd is left out: "Near" is no operator of a selector
    f:7: Pod default/evil\u{1b}[2J is left out: "evil\u{1b}[2J" is no object's name
    f:8: left out, as it is not a Kubernetes object
    "#);
    assert_eq!(view.pods().count(), 1);
    assert_eq!(view.unreadable_in(Kind::NetworkPolicy, "shop").count(), 1);
    assert_eq!(view.foreign_policies().len(), 1);
}

#[test]
fn a_policy_whose_namespace_cannot_be_read_may_be_in_any() {
    let policy = |metadata: &str| {
        format!(
            r#"{{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {metadata}, "spec": {{"podSelector": {{}}}}}}"#
        )
    };
    let in_shop = |metadata: &str| {
        let Loaded { view, .. } = read(&[&policy(metadata)]).expect("readable");
        view.unreadable_in(Kind::NetworkPolicy, "shop").count()
    };
    let somewhere = [
        "7",
        "null",
        "{}",
        r#"{"name": "deny", "namespace": 7}"#,
        r#"{"name": "deny", "namespace": "$(touch x)"}"#,
        r#"{"name": 7, "namespace": "shop"}"#,
    ];
    for metadata in somewhere {
        assert_eq!(in_shop(metadata), 1, "{metadata}");
    }
    for elsewhere in [
        r#"{"name": 7, "namespace": "ops"}"#,
        r#"{"name": "$(touch x)"}"#,
    ] {
        assert_eq!(in_shop(elsewhere), 0, "{elsewhere}");
    }
}

/// What may have a name, as it could not be read, and how it is called.
fn unreadable_as(pods: &[&str], id: (&str, &str)) -> Option<String> {
    let pods: Vec<_> = pods
        .iter()
        .map(|metadata| {
            format!(
                r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {metadata},
                    "spec": {{"containers": 7}}}}"#
            )
        })
        .collect();
    let pods: Vec<_> = pods.iter().map(String::as_str).collect();
    let Loaded { view, .. } = read(&pods).expect("readable");
    let found = view.unreadable_as(Kind::Pod, &ObjectName::new(id.0, id.1));
    found.map(ToString::to_string)
}

#[test]
fn an_object_whose_name_cannot_be_read_may_be_any() {
    let whole = r#"{"name": "cart", "namespace": "shop"}"#;
    let somewhere = r#"{"name": "cart", "namespace": 7}"#;
    let some = r#"{"name": 7, "namespace": "shop"}"#;
    let odd = r#"{"name": "cart", "namespace": "?"}"#;
    let found = |pods: &[&str], name| unreadable_as(pods, ("shop", name));
    assert_eq!(found(&[whole], "cart").as_deref(), Some("shop/cart"));
    assert_eq!(found(&[whole], "web"), None);
    let anywhere = Some("(unknown namespace)/cart");
    for pod in [somewhere, odd] {
        assert_eq!(found(&[pod], "cart").as_deref(), anywhere);
        assert_eq!(found(&[pod], "web"), None);
    }
    assert_eq!(
        found(&[some], "web").as_deref(),
        Some("shop/(without a name)")
    );
    assert_eq!(unreadable_as(&[some], ("ops", "web")), None);
    // What is known best is named.
    let all = [some, somewhere, whole];
    assert_eq!(found(&all, "cart").as_deref(), Some("shop/cart"));
    assert_eq!(found(&all[..2], "cart").as_deref(), anywhere);
}

#[test]
fn a_broken_file_is_an_error_with_its_line() {
    let errors = [
        "{\"kind\":\"List\",\n\"items\":[",
        "{\"kind\":\n nonsense}",
        "a: b\n---\nc: [1,\n",
        "",
    ]
    .map(|text| read(&[text]).expect_err(text))
    .join("\n");
    insta::assert_snapshot!(errors, @"
    f:2: the file ends in the middle: it was cut off, or is still being written
    f:2: expected ident
    f:3: unclosed bracket '['
    f: no Kubernetes object is in it; expected what `kubectl get pods,services,endpointslices,networkpolicies,namespaces,nodes -A -o json` writes
    ");
}

#[test]
fn a_later_file_replaces_an_object() {
    let pod = |ip: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"a"}},"status":{{"podIP":"{ip}"}}}}"#
        )
    };
    let view = read(&[&pod("10.0.0.1"), &pod("10.0.0.2")])
        .expect("readable")
        .view;
    let owner = |ip: &str| view.owner(ip.parse().expect("address"));
    assert!(matches!(owner("10.0.0.1"), Owner::Outside));
    assert!(matches!(owner("10.0.0.2"), Owner::Pod(_)));
}

/// More than a stack holds, or a patient person waits for.
#[test]
fn absurd_depth_is_an_error() {
    const DEEP: usize = 20_000;
    let lists = r#"{"kind":"List","items":["#.repeat(DEEP);
    for text in [
        "[".repeat(DEEP) + &"]".repeat(DEEP),
        lists + &"]}".repeat(DEEP),
        format!("a: {}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        format!("a: &a [x]\n{}", "b: [*a, *a, *a, *a]\n".repeat(DEEP)),
    ] {
        let outcome = read(&[&text]).map(|loaded| loaded.notes);
        assert!(outcome.is_err(), "{outcome:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", cut in 0..DUMP.len()) {
        drop(read(&[&text]));
        if let Some(part) = DUMP.get(..cut) {
            prop_assert!(read(&[part]).is_err() || part.trim() == DUMP.trim());
        }
    }

    #[test]
    fn no_broken_dump_makes_it_panic(text in damage::text(DUMP)) {
        drop(read(&[&text]));
        // As YAML, which JSON is a part of.
        drop(read(&[&format!("# JSON\n{text}")]));
    }

    #[test]
    fn no_strange_dump_makes_it_panic(text in damage::json(DUMP)) {
        drop(read(&[&text]));
    }
}

/// What kubectl writes, or another program.
#[test]
fn fuzz_cluster_file() {
    let yaml = [
        include_bytes!("../../../testdata/policies/keys.yaml").as_slice(),
        include_bytes!("../../../testdata/policies/service.yaml"),
        include_bytes!("../../../testdata/policies/slice.yaml"),
        include_bytes!("../../../testdata/policies/deny.yaml"),
        DUMP.as_bytes(),
    ];
    crate::fuzz::run("cluster-file", &yaml, |input| {
        let mut loaded = Loaded::default();
        let read = loaded.read(Path::new("f"), &crate::fuzz::text(input));
        loaded.finish();
        if let Err(error) = read {
            assert!(error.to_string().len() < 4096, "{error}");
        }
    });
}
