//! More policies than anyone reads.

use serde_json::json;

use super::asked::Files;

#[test]
fn an_answer_has_an_end_whatever_there_are_of_policies() {
    let rule = |n: usize| {
        json!({"from": [{"podSelector": {"matchLabels": {"app": format!("x{n}")}}}],
            "ports": [{"port": 1000 + n}]})
    };
    let rules: Vec<_> = (0..50).map(rule).collect();
    let policy = |n: usize| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": format!("p{n}"), "namespace": "blue"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules}})
    };
    let list = json!({"kind": "List", "items": (0..200).map(policy).collect::<Vec<_>>()});
    let answer = Files::of(&[])
        .and(list.to_string())
        .answer("--from blue/ask --to blue/reply:443");
    assert_eq!(answer["allowed"], false);
    let evidence = answer["verdict"]["evidence"].as_array().unwrap();
    assert!(evidence.len() < 20, "{}", evidence.len());
    assert!(
        evidence
            .iter()
            .any(|fact| fact == "9990 more that are no nearer"),
        "{evidence:?}"
    );
    let verdict = answer["verdict"].to_string();
    assert!(verdict.len() < 1 << 14, "{}", verdict.len());
}
