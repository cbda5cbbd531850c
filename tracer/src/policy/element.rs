//! One element of `from` or `to` against one end of a flow.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    matching::{Detail, Match},
    peer::{Party, Peer},
};
use crate::cluster::{
    objects::Pod,
    policy::{Direction, Element, Held, held},
    selector::{Known, Selector},
    view::View,
};

/// What is asked about: the other end, seen from a policy in a namespace.
pub(super) struct Question<'a, 'v> {
    pub(super) view: &'v View,
    pub(super) peer: &'a Peer<'v>,
    pub(super) direction: Direction,
    /// The policy's namespace.
    pub(super) namespace: &'a str,
    pub(super) detail: Detail,
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
        let wanted = || describe_pods(namespaces, pods);
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
                    None => self.detail.miss(1, || {
                        format!(
                            "admits {}; the {who} is {}, of the node",
                            wanted(),
                            self.peer
                        )
                    }),
                }
            }
            Party::Outside => self.detail.miss(0, || {
                format!("admits {}; the {who} {} is not a pod", wanted(), self.peer)
            }),
            Party::Service(service) => Match::Unknown(format!(
                "policies see the endpoints of Service {}, not its address",
                service.id
            )),
            Party::Unknown(because) => Match::Unknown(because.clone()),
        }
    }

    fn pod(&self, pod: &Pod, namespaces: Option<&Selector>, pods: Option<&Selector>) -> Match {
        let who = self.direction.peer();
        let wanted = || describe_pods(namespaces, pods);
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
            (Some(true), false) if namespaces.is_some() => self.detail.miss(3, || {
                format!(
                    "admits {}: podSelector and namespaceSelector of one element must both match, \
                     and the namespace does, the pod doesn't; the {who} is {}",
                    wanted(),
                    seen()
                )
            }),
            (Some(true), false) => self.detail.miss(2, || {
                format!("admits {}; the {who} is {}", wanted(), seen())
            }),
            (Some(false), true) if namespaces.is_some() && pods.is_some() => {
                self.detail.miss(3, || {
                    format!(
                        "admits {}: podSelector and namespaceSelector of one element must both \
                         match, and the pod does, the namespace doesn't; the {who} is {}",
                        wanted(),
                        lives()
                    )
                })
            }
            (Some(false), true) => self.detail.miss(2, || {
                format!("admits {}; the {who} is {}", wanted(), lives())
            }),
            (Some(false) | None, false) => self.detail.miss(1, || {
                format!("admits {}; the {who} is {}, {}", wanted(), seen(), lives())
            }),
        }
    }

    fn block(&self, net: &IpNet, except: &[IpNet]) -> Match {
        let who = self.direction.peer();
        let wanted = || describe_block(net, except);
        let addresses = self.peer.addresses();
        let is_in = |address: &IpAddr| held(net, except, *address);
        if addresses.iter().any(|address| is_in(address) == Held::Yes) {
            return match &self.peer.party {
                Party::Outside | Party::Host { named: false, .. } => Match::Yes,
                Party::Pod(pod) => self.block_over_pod(pod, wanted),
                Party::Host { .. } => Match::Unknown(format!(
                    "{} holds the address of {}: whether an ipBlock matches hostNetwork pods is \
                     the implementation's choice",
                    wanted(),
                    self.peer
                )),
                Party::Service(service) => Match::Unknown(format!(
                    "{} holds the address of Service {}: whether an ipBlock is compared before or \
                     after DNAT is the implementation's choice",
                    wanted(),
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
            return Match::Unknown(match &self.peer.party {
                Party::Unknown(because) => because.clone(),
                _ => format!("{} has no address yet", self.peer),
            });
        }
        if let Some(address) = addresses
            .iter()
            .find(|address| is_in(address) == Held::Excepted)
        {
            return self.detail.miss(2, || {
                format!(
                    "admits {}; the {who} {address} is among the exceptions",
                    wanted()
                )
            });
        }
        self.detail.miss(1, || {
            let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            format!("admits {}; the {who} is {}", wanted(), addresses.join(", "))
        })
    }

    /// Between pods nothing translates addresses, so an enforcer that compares addresses matches,
    /// and one that compares identities does not.
    fn block_over_pod(&self, pod: &Pod, wanted: impl Fn() -> String) -> Match {
        let enforcer = self.view.enforcer();
        let known = enforcer.and_then(|one| Some((one, one.blocks_match_pods()?)));
        match known {
            Some((_, true)) => Match::Yes,
            Some((enforcer, false)) => self.detail.miss(2, || {
                format!(
                    "admits {}, which {enforcer} does not match with pods; the {} is pod {}",
                    wanted(),
                    self.direction.peer(),
                    pod.id
                )
            }),
            None => Match::Unknown(format!(
                "{} holds the address of pod {}: whether an ipBlock matches pods is the \
                 implementation's choice",
                wanted(),
                pod.id
            )),
        }
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
