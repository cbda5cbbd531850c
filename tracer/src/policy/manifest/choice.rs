//! The selector that selects a pod, and the fewest others.

use std::collections::BTreeSet;

use super::labels::{lasting, stable};
use crate::cluster::{
    objects::{Labels, Pod},
    policy::Policy,
    selector::{Known, Operator, Requirement, Selector},
    view::View,
};

/// A selector for a pod.
pub(super) struct Choice<'v> {
    pub(super) selector: Selector,
    /// The other pods that it selects.
    pub(super) others: Vec<&'v Pod>,
}

impl<'v> Choice<'v> {
    /// For a pod that these policies isolate. It selects none but isolated pods, now and later:
    /// all that one of the policies asks for, it asks for, too.
    pub(super) fn of_isolated(view: &'v View, pod: &'v Pod, isolating: &[&Policy]) -> Option<Self> {
        let bases = isolating.iter().map(|policy| policy.pods.clone());
        let mut bases: Vec<Selector> = bases.collect();
        bases.sort_by_key(|base| base.requirements.len());
        let widest = bases.first()?.clone();
        let alone = bases.into_iter().filter(|base| !base.is_empty());
        let narrowed = by_labels(view, pod)
            .into_iter()
            .map(|narrower| both(&widest, narrower));
        best(view, pod, alone.chain(narrowed))
    }

    /// For a pod at the other end.
    pub(super) fn of_peer(view: &'v View, pod: &'v Pod) -> Self {
        let by_policies = view
            .policies_in(&pod.id.namespace)
            .map(|policy| &policy.pods)
            .filter(|selector| !selector.is_empty())
            .filter(|selector| selector.selects(Known::All(&pod.labels)) == Some(true))
            .cloned();
        let by_policies: Vec<_> = by_policies.collect();
        let candidates = by_policies.into_iter().chain(by_labels(view, pod));
        best(view, pod, candidates).unwrap_or_else(|| Self {
            selector: exact(view, pod, &lasting(&pod.labels).collect::<Vec<_>>()),
            others: Vec::new(),
        })
    }
}

/// Selectors that already select the pod: its workload, a Service, its own labels. Each later one
/// is narrower, or changes more often.
fn by_labels(view: &View, pod: &Pod) -> Vec<Selector> {
    let has_all = |labels: &&Labels| {
        let mut pairs = labels.iter();
        !labels.is_empty() && pairs.all(|(key, value)| pod.labels.get(key) == Some(value))
    };
    let workload = pod.workload();
    let by_workload = workload.and_then(|workload| view.labels_of(&workload));
    let by_services = view
        .services()
        .filter(|service| service.id.namespace == pod.id.namespace)
        .map(|service| &service.selector);
    let by_others = by_workload.into_iter().chain(by_services).filter(has_all);
    let mut found: Vec<Selector> = by_others.map(|labels| equal(labels.iter())).collect();
    let stable = stable(view, pod);
    if !stable.is_empty() {
        found.push(equal(stable.iter().copied()));
    }
    found.push(exact(view, pod, &stable));
    found.push(exact(view, pod, &lasting(&pod.labels).collect::<Vec<_>>()));
    found
}

/// The first that selects no pod but those that are made by the same thing, else the one that
/// selects the fewest others.
fn best<'v>(
    view: &'v View,
    pod: &'v Pod,
    candidates: impl Iterator<Item = Selector>,
) -> Option<Choice<'v>> {
    let namespace = &pod.id.namespace;
    let mut best: Option<(usize, Choice<'v>)> = None;
    for selector in candidates {
        let selected = view.pods_in(namespace).filter(|other| {
            let labels = Known::All(&other.labels);
            !other.ended && other.id != pod.id && selector.selects(labels) == Some(true)
        });
        let others: Vec<&Pod> = selected.collect();
        let strangers = others.iter().filter(|other| !is_alike(pod, other)).count();
        if best.as_ref().is_none_or(|(fewest, _)| strangers < *fewest) {
            best = Some((strangers, Choice { selector, others }));
        }
        if strangers == 0 {
            break;
        }
    }
    best.map(|(_, choice)| choice)
}

/// Whether what is meant for one pod is meant for the other.
fn is_alike(pod: &Pod, other: &Pod) -> bool {
    let nothing_made_them = pod.controller.is_none() && other.controller.is_none();
    pod.is_sibling_of(other) || nothing_made_them && lasting(&pod.labels).eq(lasting(&other.labels))
}

/// Just these labels.
fn equal<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> Selector {
    let requirement = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In(vec![value.clone()]),
    };
    Selector {
        requirements: labels.map(requirement).collect(),
    }
}

/// These labels, and none that other pods have on top of them.
fn exact(view: &View, pod: &Pod, labels: &[(&String, &String)]) -> Selector {
    let has_them = |other: &&Pod| {
        let mut pairs = labels.iter();
        pairs.all(|(key, value)| other.labels.get(*key) == Some(*value))
    };
    let on_top: BTreeSet<&String> = view
        .pods_in(&pod.id.namespace)
        .filter(|other| !other.ended)
        .filter(has_them)
        .flat_map(|other| lasting(&other.labels))
        .map(|(key, _)| key)
        .filter(|key| !pod.labels.contains_key(*key))
        .collect();
    let mut selector = equal(labels.iter().copied());
    selector
        .requirements
        .extend(on_top.into_iter().map(|key| Requirement {
            key: key.clone(),
            operator: Operator::DoesNotExist,
        }));
    selector
}

/// What either asks for.
fn both(one: &Selector, other: Selector) -> Selector {
    let mut both = one.clone();
    let more = other.requirements.into_iter();
    let new = more.filter(|requirement| !one.requirements.contains(requirement));
    both.requirements.extend(new);
    both
}
