//! A NetworkPolicy as a file.

use std::fmt::Write as _;

use crate::cluster::{
    policy::{Direction, Element, Policy, PortSpec, Rule},
    selector::{Operator, Selector},
};

/// The policy, ready to apply.
pub(super) fn of(policy: &Policy) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {}\n  \
         namespace: {}\n{}",
        quoted(&policy.id.name),
        quoted(&policy.id.namespace),
        spec(policy)
    )
}

/// What it says.
pub(super) fn spec(policy: &Policy) -> String {
    let mut page = Page(String::new());
    page.0 += "spec:\n  podSelector:";
    page.selector(&policy.pods, 4);
    for direction in [Direction::Ingress, Direction::Egress] {
        let Some(rules) = policy.rules(direction) else {
            continue;
        };
        let (title, preposition) = match direction {
            Direction::Egress => ("Egress", "to"),
            Direction::Ingress => ("Ingress", "from"),
        };
        let word = direction.name();
        page.0 += &format!("  policyTypes:\n  - {title}\n  {word}:\n");
        for rule in rules {
            page.rule(rule, preposition);
        }
    }
    page.0
}

struct Page(String);

impl Page {
    fn rule(&mut self, rule: &Rule, preposition: &str) {
        self.0 += &format!("  - {preposition}:\n");
        for element in &rule.peers {
            match element {
                Element::Block { net, .. } => {
                    let net = quoted(&net.to_string());
                    self.0 += &format!("    - ipBlock:\n        cidr: {net}\n");
                }
                Element::Pods { namespaces, pods } => {
                    self.0 += "    - podSelector:";
                    self.selector(&pods.clone().unwrap_or_default(), 8);
                    if let Some(namespaces) = namespaces {
                        self.0 += "      namespaceSelector:";
                        self.selector(namespaces, 8);
                    }
                }
            }
        }
        self.0 += "    ports:\n";
        for port in &rule.ports {
            self.0 += &format!("    - protocol: {}\n", port.protocol);
            if let Some(PortSpec::Range(port, _)) = port.port {
                self.0 += &format!("      port: {port}\n");
            }
        }
    }

    fn selector(&mut self, selector: &Selector, indent: usize) {
        if selector.is_empty() {
            self.0 += " {}\n";
            return;
        }
        self.0 += "\n";
        let (labels, expressions): (Vec<_>, Vec<_>) = selector
            .requirements
            .iter()
            .partition(|one| matches!(&one.operator, Operator::In(values) if values.len() == 1));
        let blanks = " ".repeat(indent);
        let mut line = |text: &str| writeln!(self.0, "{blanks}{text}").unwrap_or_default();
        if !labels.is_empty() {
            line("matchLabels:");
        }
        for requirement in labels {
            if let Operator::In(values) = &requirement.operator {
                line(&format!(
                    "  {}: {}",
                    quoted(&requirement.key),
                    quoted(&values[0])
                ));
            }
        }
        if !expressions.is_empty() {
            line("matchExpressions:");
        }
        for requirement in expressions {
            line(&format!("- key: {}", quoted(&requirement.key)));
            let (operator, values) = match &requirement.operator {
                Operator::In(values) => ("In", values.as_slice()),
                Operator::NotIn(values) => ("NotIn", values.as_slice()),
                Operator::Exists => ("Exists", [].as_slice()),
                Operator::DoesNotExist => ("DoesNotExist", [].as_slice()),
            };
            line(&format!("  operator: {operator}"));
            if !values.is_empty() {
                let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
                line(&format!("  values: [{}]", values.join(", ")));
            }
        }
    }
}

/// `true`, `no` and `1e3` are strings here; a JSON string is one in YAML, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
