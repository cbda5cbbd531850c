//! What two enforcers made of connections in a real cluster, beside what the policies say.

use serde_json::Value;

use super::asked::Files;

fn read(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/enforcers");
    std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap()
}

/// Compares the answer for each connection under an enforcer with what became of it. `passes` says
/// which ends a connection can have that no policy refuses. Returns how many were compared, and how
/// many of them were left undecided.
#[track_caller]
fn compare(enforcer: &str, passes: &[&str]) -> (usize, usize) {
    let files = Files::none().and(read("cluster"));
    let rows: Vec<Value> = serde_json::from_str(&read(enforcer)).unwrap();
    let mut undecided = 0;
    for row in &rows {
        let text = |key: &str| row[key].as_str().unwrap();
        let (from, port) = (text("from"), &row["port"]);
        let to = format!("{}:{port}", text("to"));
        let has_passed = passes.contains(&text("dial"));
        match files.allowed(from, &to) {
            Some(allowed) => assert_eq!(allowed, has_passed, "{enforcer}: {row}"),
            // Whether an ipBlock matches pods is the enforcer's choice: this one's is known.
            None => {
                assert!(has_passed, "{enforcer}: {row}");
                undecided += 1;
            }
        }
    }
    (rows.len(), undecided)
}

#[test]
fn kube_router_decides_alike() {
    assert_eq!(compare("kube-router", &["answered"]), (60, 1));
}

#[test]
fn kube_network_policies_decides_alike() {
    // It refuses by dropping alone: a RST shows that the SYN has arrived.
    let passes = ["answered", "refused"];
    assert_eq!(compare("kube-network-policies", &passes), (40, 0));
}
