//! NetworkPolicies from the API's types. What the API server would refuse is refused here, too:
//! its meaning could only be guessed.

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1 as api,
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::{Wrong, is_label_value, is_proper, namespaced};
use crate::cluster::{
    policy::{Direction, Element, Policy, PortRule, PortSpec, Protocol, Rule},
    selector::{Operator, Requirement, Selector},
};

/// A NetworkPolicy.
///
/// # Errors
///
/// It is one that no API server would take.
pub(crate) fn policy(policy: api::NetworkPolicy) -> Result<Policy, Wrong> {
    let id = namespaced(&policy.metadata)?;
    let spec = policy.spec.ok_or("it has no spec")?;
    let pods = selector(spec.pod_selector.unwrap_or_default())?;
    let ingress = spec
        .ingress
        .into_iter()
        .flatten()
        .map(|rule| self::rule(rule.from, rule.ports))
        .collect::<Result<Vec<_>, _>>()?;
    let egress = spec
        .egress
        .into_iter()
        .flatten()
        .map(|rule| self::rule(rule.to, rule.ports))
        .collect::<Result<Vec<_>, _>>()?;
    let types = spec.policy_types.unwrap_or_default();
    if let Some(odd) = types
        .iter()
        .find(|name| !["Ingress", "Egress"].contains(&name.as_str()))
    {
        return Err(format!(
            "policyTypes: {odd:?} is neither Ingress nor Egress"
        ));
    }
    let lists = |name: &str| types.iter().any(|listed| listed == name);
    // The API's defaults: always Ingress, and Egress where there are rules for it.
    let isolates_ingress = types.is_empty() || lists("Ingress");
    let isolates_egress = if types.is_empty() {
        !egress.is_empty()
    } else {
        lists("Egress")
    };
    let idle_rules = if !isolates_ingress && !ingress.is_empty() {
        Some(Direction::Ingress)
    } else if !isolates_egress && !egress.is_empty() {
        Some(Direction::Egress)
    } else {
        None
    };
    Ok(Policy {
        id,
        pods,
        ingress: isolates_ingress.then_some(ingress),
        egress: isolates_egress.then_some(egress),
        idle_rules,
    })
}

fn rule(
    peers: Option<Vec<api::NetworkPolicyPeer>>,
    ports: Option<Vec<api::NetworkPolicyPort>>,
) -> Result<Rule, Wrong> {
    Ok(Rule {
        peers: peers
            .into_iter()
            .flatten()
            .map(element)
            .collect::<Result<_, _>>()?,
        ports: ports
            .into_iter()
            .flatten()
            .map(port)
            .collect::<Result<_, _>>()?,
    })
}

fn element(peer: api::NetworkPolicyPeer) -> Result<Element, Wrong> {
    match (peer.ip_block, peer.namespace_selector, peer.pod_selector) {
        (None, None, None) => Err("an element of from or to is empty".to_owned()),
        (Some(block), None, None) => Ok(Element::Block {
            net: net(&block.cidr)?,
            except: block
                .except
                .iter()
                .flatten()
                .map(|text| net(text))
                .collect::<Result<_, _>>()?,
        }),
        (Some(_), _, _) => Err("an element has an ipBlock and a selector".to_owned()),
        (None, namespaces, pods) => Ok(Element::Pods {
            namespaces: namespaces.map(selector).transpose()?,
            pods: pods.map(selector).transpose()?,
        }),
    }
}

fn net(text: &str) -> Result<IpNet, Wrong> {
    text.parse::<IpNet>()
        .map(|net| net.trunc())
        .map_err(|_| format!("ipBlock: {text:?} is no CIDR"))
}

fn port(port: api::NetworkPolicyPort) -> Result<PortRule, Wrong> {
    let protocol = Protocol::from_api(port.protocol.as_deref())
        .ok_or_else(|| format!("{:?} is no protocol", port.protocol.unwrap_or_default()))?;
    let number = |value: i32| {
        u16::try_from(value)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("{value} is no port"))
    };
    let spec = match (port.port, port.end_port) {
        (None, None) => None,
        (Some(IntOrString::Int(first)), last) => {
            let (first, last) = (number(first)?, number(last.unwrap_or(first))?);
            if last < first {
                return Err(format!("endPort {last} is below port {first}"));
            }
            Some(PortSpec::Range(first, last))
        }
        (Some(IntOrString::String(name)), None) if is_proper(&name) => Some(PortSpec::Named(name)),
        (Some(IntOrString::String(name)), None) => return Err(format!("{name:?} is no port name")),
        (_, Some(last)) => return Err(format!("endPort {last} needs a port that is a number")),
    };
    Ok(PortRule {
        protocol,
        port: spec,
    })
}

fn selector(selector: LabelSelector) -> Result<Selector, Wrong> {
    let labels = selector
        .match_labels
        .into_iter()
        .flatten()
        .map(|(key, value)| Requirement {
            key,
            operator: Operator::In(vec![value]),
        });
    let mut requirements: Vec<Requirement> = labels.collect();
    for expression in selector.match_expressions.into_iter().flatten() {
        requirements.push(requirement(expression)?);
    }
    for Requirement { key, operator } in &requirements {
        let values: &[String] = match operator {
            Operator::In(values) | Operator::NotIn(values) => values,
            Operator::Exists | Operator::DoesNotExist => &[],
        };
        if !is_proper(key) || !values.iter().all(|value| is_label_value(value)) {
            return Err(format!(
                "{key:?} with {values:?} is no requirement of a selector"
            ));
        }
    }
    Ok(Selector { requirements })
}

fn requirement(expression: LabelSelectorRequirement) -> Result<Requirement, Wrong> {
    let LabelSelectorRequirement {
        key,
        operator,
        values,
    } = expression;
    let values = values.unwrap_or_default();
    let operator = match (operator.as_str(), values.is_empty()) {
        ("In", false) => Operator::In(values),
        ("NotIn", false) => Operator::NotIn(values),
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        ("In" | "NotIn", true) => return Err(format!("{operator} of {key:?} needs values")),
        ("Exists" | "DoesNotExist", false) => {
            return Err(format!("{operator} of {key:?} takes no values"));
        }
        _ => return Err(format!("{operator:?} is no operator of a selector")),
    };
    Ok(Requirement { key, operator })
}
