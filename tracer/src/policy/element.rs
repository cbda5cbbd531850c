//! One element of `from` or `to` against one end of a flow.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    matching::Match,
    peer::{Party, Peer},
};
use crate::cluster::{
    objects::Pod,
    policy::{Direction, Element, Held, held},
    selector::{Known, Selector},
    view::View,
};

/// Who is asked about: the other end, seen from a policy in a namespace.
pub(super) struct Question<'a, 'v> {
    pub(super) view: &'v View,
    pub(super) peer: &'a Peer<'v>,
    pub(super) direction: Direction,
    /// The policy's namespace.
    pub(super) namespace: &'a str,
}

impl Question<'_, '_> {
    /// Whether an element admits the other end.
    pub(super) fn ask(&self, element: &Element) -> Match {
        match element {
            Element::Block { net, except } => self.block(net, except),
            Element::Pods { namespaces, pods } => {
                self.selectors(namespaces.as_ref(), pods.as_ref())
            }
        }
    }

    fn selectors(&self, namespaces: Option<&Selector>, pods: Option<&Selector>) -> Match {
        let who = self.direction.peer();
        let wanted = describe_pods(namespaces, pods);
        match &self.peer.party {
            Party::Pod(pod) => self.pod(pod, namespaces, pods),
            Party::Host { pods: hosts, .. } => {
                // An implementation may see hostNetwork pods as pods, or as the node.
                let could = hosts
                    .iter()
                    .find(|pod| !matches!(self.pod(pod, namespaces, pods), Match::No(_)));
                match could {
                    Some(pod) => Match::Unknown(format!(
                        "{} is a hostNetwork pod: whether selectors see it is the \
                         implementation's choice",
                        pod.id
                    )),
                    None => Match::no(
                        format!("admits {wanted}; the {who} is {}, of the node", self.peer),
                        1,
                    ),
                }
            }
            Party::Outside => Match::no(
                format!("admits {wanted}; the {who} {} is no pod", self.peer),
                0,
            ),
            Party::Service(service) => Match::Unknown(format!(
                "policies see the endpoints of Service {}, not its address",
                service.id
            )),
            Party::Unknown(because) => Match::Unknown(because.clone()),
        }
    }

    fn pod(&self, pod: &Pod, namespaces: Option<&Selector>, pods: Option<&Selector>) -> Match {
        let who = self.direction.peer();
        let wanted = describe_pods(namespaces, pods);
        let namespace = &pod.id.namespace;
        let in_namespace = match namespaces {
            Some(selector) => selector.selects(self.view.namespace(namespace)),
            None => Some(namespace == self.namespace),
        };
        let labels = Known::All(&pod.labels);
        let is_it = pods.is_none_or(|selector| selector.selects(labels) == Some(true));
        let seen = || match pods {
            Some(selector) => selector.seen_on(labels),
            None => pod.id.to_string(),
        };
        let lives = || match namespaces {
            Some(selector) if !selector.is_empty() => format!(
                "in namespace {namespace} ({})",
                selector.seen_on(self.view.namespace(namespace))
            ),
            _ => format!("in namespace {namespace}"),
        };
        match (in_namespace, is_it) {
            (Some(true), true) => Match::Yes,
            (None, true) => Match::Unknown(format!(
                "the labels of namespace {namespace} are not known, and a namespaceSelector asks \
                 for them"
            )),
            // Two halves that must both match are taken for alternatives all the time.
            (Some(true), false) if namespaces.is_some() => Match::no(
                format!(
                    "admits {wanted}: podSelector and namespaceSelector of one element must both \
                     match, and the namespace does, the pod doesn't; the {who} is {}",
                    seen()
                ),
                3,
            ),
            (Some(true), false) => {
                Match::no(format!("admits {wanted}; the {who} is {}", seen()), 2)
            }
            (Some(false), true) if namespaces.is_some() && pods.is_some() => Match::no(
                format!(
                    "admits {wanted}: podSelector and namespaceSelector of one element must both \
                     match, and the pod does, the namespace doesn't; the {who} is {}",
                    lives()
                ),
                3,
            ),
            (Some(false), true) => {
                Match::no(format!("admits {wanted}; the {who} is {}", lives()), 2)
            }
            (Some(false) | None, false) => Match::no(
                format!("admits {wanted}; the {who} is {}, {}", seen(), lives()),
                1,
            ),
        }
    }

    fn block(&self, net: &IpNet, except: &[IpNet]) -> Match {
        let who = self.direction.peer();
        let wanted = describe_block(net, except);
        let addresses = self.peer.addresses();
        let is_in = |address: &IpAddr| held(net, except, *address);
        if addresses.iter().any(|address| is_in(address) == Held::Yes) {
            return match &self.peer.party {
                Party::Outside | Party::Host { named: false, .. } => Match::Yes,
                Party::Pod(pod) => Match::Unknown(format!(
                    "{wanted} holds the address of pod {}: whether an ipBlock matches pods is the \
                     implementation's choice",
                    pod.id
                )),
                Party::Host { .. } => Match::Unknown(format!(
                    "{wanted} holds the address of {}: whether an ipBlock matches hostNetwork \
                     pods is the implementation's choice",
                    self.peer
                )),
                Party::Service(service) => Match::Unknown(format!(
                    "{wanted} holds the address of Service {}: whether an ipBlock is compared \
                     before or after DNAT is the implementation's choice",
                    service.id
                )),
                Party::Unknown(because) => Match::Unknown(because.clone()),
            };
        }
        if let Party::Service(service) = &self.peer.party {
            return Match::Unknown(format!(
                "policies see the endpoints of Service {}, not its address",
                service.id
            ));
        }
        if addresses.is_empty() {
            return Match::Unknown(format!("{} has no address yet", self.peer));
        }
        if let Some(address) = addresses
            .iter()
            .find(|address| is_in(address) == Held::Excepted)
        {
            let words = format!("admits {wanted}; the {who} {address} is among the exceptions");
            return Match::no(words, 2);
        }
        let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        Match::no(
            format!("admits {wanted}; the {who} is {}", addresses.join(", ")),
            1,
        )
    }
}

fn describe_pods(namespaces: Option<&Selector>, pods: Option<&Selector>) -> String {
    let pods = match pods.filter(|selector| !selector.is_empty()) {
        Some(selector) => format!("podSelector {selector}"),
        None => "every pod".to_owned(),
    };
    match namespaces {
        None => format!("{pods} in this namespace"),
        Some(selector) if selector.is_empty() => format!("{pods} in any namespace"),
        Some(selector) => format!("{pods} in namespaceSelector {selector}"),
    }
}

fn describe_block(net: &IpNet, except: &[IpNet]) -> String {
    if except.is_empty() {
        return format!("ipBlock {net}");
    }
    let except: Vec<String> = except.iter().map(IpNet::to_string).collect();
    format!("ipBlock {net} except {}", except.join(", "))
}
