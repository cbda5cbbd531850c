//! An enforcer of NetworkPolicies whose rules are shaped like kube-router's.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;
use serde_json::Value;

use super::{
    Objects, Pod,
    selector::{peers, selected},
};
use crate::lab::Namespace;

/// The two directions: the API's list of rules, its list of peers, and how a rule names the pod and
/// its peer.
const DIRECTIONS: [(&str, &str, &str, &str, &str); 2] = [
    ("Ingress", "ingress", "from", "-d", "-s"),
    ("Egress", "egress", "to", "-s", "-d"),
];

/// Makes a node enforce the policies for the pods that run on it, in place of what it enforced
/// before. The recording of a real node has rules of this shape.
///
/// # Errors
///
/// The rules cannot be loaded.
pub fn enforce(node: &Namespace, name: &str, objects: &Objects) -> Result<()> {
    let mut chains = String::new();
    let mut rules = String::new();
    let mut dispatch = String::new();
    let mut policies: BTreeMap<String, usize> = BTreeMap::new();
    for (number, pod) in objects.pods.iter().enumerate() {
        if pod.node != name {
            continue;
        }
        let mine: Vec<&Value> = objects
            .policies
            .iter()
            .filter(|policy| {
                selected(policy, &objects.pods)
                    .iter()
                    .any(|p| p.id() == pod.id())
            })
            .collect();
        if mine.is_empty() {
            continue;
        }
        let (id, ip) = (pod.id(), pod.ip);
        let chain = format!("KUBE-POD-FW-{number:016}");
        let _ = writeln!(chains, ":{chain} - [0:0]");
        for (flag, way) in [("-d", "in"), ("-s", "out")] {
            let _ = writeln!(
                dispatch,
                "-A KUBE-ROUTER-FORWARD {flag} {ip} -m comment --comment \"{id} {way}\" -j {chain}"
            );
        }
        let _ = writeln!(
            rules,
            "-A {chain} -m comment --comment \"rule for stateful firewall for pod\" -m conntrack \
             --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
             -A {chain} -d {ip} -m comment --comment \"from local node\" -m addrtype --src-type \
             LOCAL -j ACCEPT"
        );
        for (kind, rule_key, _, pod_flag, _) in DIRECTIONS {
            let isolating: Vec<&Value> = mine
                .iter()
                .copied()
                .filter(|policy| is_about(policy, kind, rule_key))
                .collect();
            if isolating.is_empty() {
                // Not isolated this way: what is not for the pod's other side passes.
                let _ = writeln!(
                    rules,
                    "-A {chain} {pod_flag} {ip} -j MARK --set-xmark 0x10000/0x10000"
                );
            }
            for policy in isolating {
                let fresh = policies.len();
                let id = policy_id(policy);
                let key = format!("{id} {rule_key}");
                let number = *policies.entry(key.clone()).or_insert(fresh);
                let target = format!("KUBE-NWPLCY-{number:016}");
                let _ = writeln!(
                    rules,
                    "-A {chain} {pod_flag} {ip} -m comment --comment \"{id} policy\" -j {target}"
                );
            }
        }
        let _ = writeln!(
            rules,
            "-A {chain} -m comment --comment \"{id} reject\" -m mark ! --mark 0x10000/0x10000 -j \
             REJECT --reject-with icmp-port-unreachable\n\
             -A {chain} -j MARK --set-xmark 0x0/0x10000\n\
             -A {chain} -m comment --comment \"set netpol-ok mark\" -j MARK --set-xmark \
             0x20000/0x20000"
        );
    }
    for (key, number) in &policies {
        let chain = format!("KUBE-NWPLCY-{number:016}");
        let _ = writeln!(chains, ":{chain} - [0:0]");
        let policy = objects
            .policies
            .iter()
            .find(|policy| key.starts_with(&format!("{} ", policy_id(policy))))
            .expect("the policy of a chain");
        for direction in DIRECTIONS {
            if key.ends_with(direction.1) {
                admissions(&mut rules, &chain, policy, direction, &objects.pods);
            }
        }
    }
    let text = format!(
        "*filter\n:FORWARD ACCEPT [0:0]\n:KUBE-ROUTER-FORWARD - [0:0]\n{chains}\
         -A FORWARD -m comment --comment \"kube-router netpol - TEMCG2JMHZYE7H7T\" -j \
         KUBE-ROUTER-FORWARD\n{rules}{dispatch}\
         -A KUBE-ROUTER-FORWARD -m comment --comment \"rule to explicitly ACCEPT traffic that \
         comply to network policies\" -m mark --mark 0x20000/0x20000 -j ACCEPT\nCOMMIT\n"
    );
    node.run_with_input("iptables-nft-restore", &text).map(drop)
}

fn policy_id(policy: &Value) -> String {
    let field = |key: &str| policy["metadata"][key].as_str().expect("a name").to_owned();
    format!("{}/{}", field("namespace"), field("name"))
}

fn is_about(policy: &Value, kind: &str, rule_key: &str) -> bool {
    match policy["spec"]["policyTypes"].as_array() {
        Some(types) => types.iter().any(|known| known == kind),
        None => kind == "Ingress" || policy["spec"][rule_key].is_array(),
    }
}

/// The rules of a policy, each a mark on what it admits.
fn admissions(
    text: &mut String,
    chain: &str,
    policy: &Value,
    (_, rule_key, peer_key, _, peer_flag): (&str, &str, &str, &str, &str),
    pods: &[Pod],
) {
    let id = policy_id(policy);
    let namespace = policy["metadata"]["namespace"].as_str().unwrap_or_default();
    for rule in policy["spec"][rule_key].as_array().into_iter().flatten() {
        let from = match peers(namespace, &rule[peer_key], pods) {
            None => vec![String::new()],
            Some(addresses) => addresses
                .iter()
                .map(|address| format!("{peer_flag} {address} "))
                .collect(),
        };
        let ports = rule["ports"].as_array().filter(|ports| !ports.is_empty());
        let ports = match ports {
            None => vec![String::new()],
            Some(ports) => ports.iter().map(port).collect(),
        };
        for peer in &from {
            for port in &ports {
                let _ = writeln!(
                    text,
                    "-A {chain} {peer}{port}-m comment --comment \"{id} {rule_key} pods\" -j MARK \
                     --set-xmark 0x10000/0x10000"
                );
            }
        }
    }
}

fn port(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or("TCP").to_lowercase();
    let range = match (&port["port"], port["endPort"].as_u64()) {
        (Value::Null, _) => String::new(),
        (first, Some(last)) => format!("--dport {first}:{last} "),
        (only, None) => format!("--dport {only} "),
    };
    format!("-p {protocol} {range}")
}
