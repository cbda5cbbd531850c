//! What kube-router's chains say of the pods and policies that they are made from.

use super::{
    condition::{Condition, Field, Values},
    model::{Chain, Rule, Statement, Verdict},
    nft_value::address_number,
    owner::Owner,
    packet::HookPacket,
    truth::{Truth, among},
    value::Value,
};
use crate::model::PolicyDirection;

/// Starts of the names of chains that are made from one policy each.
const POLICY_CHAIN: &str = "KUBE-NWPLCY-";

/// NetworkPolicies, as the rules that lead to them are commented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPolicies {
    /// Which side of the flow they are about.
    pub(crate) direction: PolicyDirection,
    /// `namespace/name` each.
    pub(crate) names: Vec<String>,
}

/// The pod, as `namespace/name`, that a rule of kube-router's speaks of.
pub(super) fn pod(owner: Owner, chain: &Chain, rule: Option<&Rule>) -> Option<String> {
    if owner != Owner::KubeRouter {
        return None;
    }
    let by_rule = rule.and_then(|rule| rule.comment.as_deref()?.strip_suffix(" reject"));
    let by_chain = || chain.comment.as_deref()?.strip_prefix("podfw ");
    by_rule
        .or_else(by_chain)
        .filter(|name| name.contains('/'))
        .map(str::to_owned)
}

/// The policies whose chains the packet passed in front of a rule of a pod's chain. `None` where the
/// rules name none.
pub(super) fn policies(
    owner: Owner,
    chain: &Chain,
    rule: Option<usize>,
    packet: &HookPacket,
) -> Option<NamedPolicies> {
    if owner != Owner::KubeRouter {
        return None;
    }
    let passed = &chain.rules[..rule?];
    // The pod is the end that the chain's rules compare.
    let direction = passed.iter().find_map(|rule| match side(rule, packet) {
        Side::Of(direction) => Some(direction),
        Side::Any | Side::Other => None,
    })?;
    let mut names = Vec::new();
    for rule in passed {
        let applies = matches!(side(rule, packet), Side::Any)
            || matches!(side(rule, packet), Side::Of(of) if of == direction);
        if let Some(name) = policy_of(rule).filter(|_| applies)
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    (!names.is_empty()).then_some(NamedPolicies { direction, names })
}

/// The policy whose chain a rule jumps to. `default ingress` is the name of no policy.
fn policy_of(rule: &Rule) -> Option<&str> {
    let jumps = rule.statements.iter().any(|statement| {
        matches!(statement, Statement::Verdict(Verdict::Jump(to)) if to.starts_with(POLICY_CHAIN))
    });
    let name = rule.comment.as_deref()?.strip_suffix(" policy")?;
    (jumps && name.contains('/')).then_some(name)
}

/// Which packets of a pod a rule is for.
enum Side {
    /// Those to the pod or those from it, and this packet is one of them.
    Of(PolicyDirection),
    /// All of them: it compares no address.
    Any,
    /// Others.
    Other,
}

fn side(rule: &Rule, packet: &HookPacket) -> Side {
    let mut compares = false;
    for statement in &rule.statements {
        let Statement::Match(Condition::In {
            key,
            negated: false,
            values: Values::Inline(values),
        }) = statement
        else {
            continue;
        };
        let (direction, address) = match key.as_slice() {
            [Field::Destination(_)] => (PolicyDirection::Ingress, packet.ends.dst),
            [Field::Source(_)] => (PolicyDirection::Egress, packet.ends.src),
            _ => continue,
        };
        let number = Value::Number(address_number(address));
        if among(key, &[number], values) == Truth::Yes {
            return Side::Of(direction);
        }
        compares = true;
    }
    match compares {
        true => Side::Other,
        false => Side::Any,
    }
}
