//! What to trace, and on which nodes: the ends of the filter among the cluster's objects.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::placed::places;
use crate::{
    cli::{Proto, endpoint::Endpoint},
    cluster::{
        objects::ObjectName,
        policy::Protocol,
        resolve::{Resolved, Socket, no_such, no_such_workload, resolve},
        view::{Kind, View},
    },
};

/// Nodes that are traced on without being named.
const MOST_NODES: usize = 8;
/// Addresses that an end may stand for: they are arguments of the trace.
const MOST_SOCKETS: usize = 512;

/// One end of the filter.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) endpoint: Endpoint,
    /// What a name stands for; empty if it is none.
    pub(super) sockets: BTreeSet<Socket>,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) to: Option<End>,
    pub(super) from: Option<End>,
    /// The nodes, and why each.
    pub(super) nodes: BTreeMap<String, BTreeSet<String>>,
    /// What one should know of it, a sentence each.
    pub(super) notes: Vec<String>,
}

impl Plan {
    /// Chooses the nodes of both ends, or takes those that are `given`.
    ///
    /// # Errors
    ///
    /// A name does not exist or has no address, or there is no node to trace on, or too many.
    pub(super) fn new(
        view: &View,
        (to, from): (Option<Endpoint>, Option<Endpoint>),
        proto: Proto,
        given: &[String],
    ) -> Result<Self> {
        let mut nodes = BTreeMap::<String, BTreeSet<String>>::new();
        for end in [&from, &to].into_iter().flatten() {
            for placed in places(view, end) {
                let why = placed.to_string();
                nodes.entry(placed.node).or_default().insert(why);
            }
        }
        let mut notes = Vec::new();
        let mut look_up = |endpoint: Option<Endpoint>| {
            let end = endpoint.map(|endpoint| End::of(view, endpoint, proto, &mut notes));
            end.transpose()
        };
        let (to, from) = (look_up(to)?, look_up(from)?);
        if !given.is_empty() {
            let asked = BTreeSet::from(["--node".to_owned()]);
            let all = given.iter();
            nodes = all
                .map(|name| (name.clone(), nodes.get(name).unwrap_or(&asked).clone()))
                .collect();
        }
        if nodes.is_empty() {
            bail!(
                "neither end is a pod or a node of this cluster as far as it is known: name a node \
                 to trace on with --node"
            );
        }
        if given.is_empty() && nodes.len() > MOST_NODES {
            let names: Vec<_> = nodes.keys().take(MOST_NODES).map(String::as_str).collect();
            bail!(
                "the ends are on {} nodes, and at most {MOST_NODES} are chosen by themselves: choose \
                 with --node, such as{}, or narrow the filter",
                nodes.len(),
                names
                    .iter()
                    .take(3)
                    .map(|name| format!(" --node {name}"))
                    .collect::<String>(),
            );
        }
        Ok(Self {
            to,
            from,
            nodes,
            notes,
        })
    }
}

impl End {
    fn of(view: &View, endpoint: Endpoint, proto: Proto, notes: &mut Vec<String>) -> Result<Self> {
        if matches!(endpoint, Endpoint::Net { .. } | Endpoint::Port(_)) {
            return Ok(Self {
                endpoint,
                sockets: BTreeSet::new(),
            });
        }
        match resolve(view, &endpoint, protocol(proto)) {
            Resolved::Members(members) if members.sockets.len() > MOST_SOCKETS => bail!(
                "{endpoint} stands for {} addresses and ports, more than {MOST_SOCKETS}: give a \
                 prefix or a port",
                members.sockets.len()
            ),
            Resolved::Members(members) => {
                notes.extend(members.notes);
                Ok(Self {
                    endpoint,
                    sockets: members.sockets,
                })
            }
            Resolved::Nowhere(what) | Resolved::NoSuchPort(what) => bail!(what),
            Resolved::Unknown => bail!(unknown(view, &endpoint)),
        }
    }
}

/// The protocol of ports, where a Service's names need one.
pub(super) fn protocol(proto: Proto) -> Option<Protocol> {
    match proto {
        Proto::Tcp => Some(Protocol::Tcp),
        Proto::Udp => Some(Protocol::Udp),
        Proto::Icmp | Proto::Any => None,
    }
}

fn unknown(view: &View, endpoint: &Endpoint) -> String {
    let (kind, id) = match endpoint {
        Endpoint::Service {
            namespace, name, ..
        } => (Kind::Service, ObjectName::new(namespace, name)),
        Endpoint::Pod {
            namespace, name, ..
        } => (Kind::Pod, ObjectName::new(namespace, name)),
        Endpoint::Workload { workload, .. } if view.knows(Kind::Pod) => {
            return no_such_workload(view, workload);
        }
        _ => (Kind::Pod, ObjectName::default()),
    };
    match view.knows(kind) {
        true => no_such(view, kind, &id),
        false => format!(
            "cannot look up {endpoint}: the API server lists no {}s to you; give an address and \
             --node",
            kind.to_string().to_lowercase()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{
            objects::{Backend, EndpointSlice, Service, ServicePort, TargetPort},
            view::Object,
        },
        command::kubectl::fixtures::pod,
    };

    fn port(port: u16) -> ServicePort {
        ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port,
            node_port: None,
            target: TargetPort::Number(8080),
        }
    }

    fn cluster() -> View {
        let mut view = View::default();
        pod(&mut view, "web", "10.1.1.1", "n1");
        pod(&mut view, "cart-1", "10.1.2.1", "n2");
        pod(&mut view, "cart-2", "10.1.3.1", "n3");
        let backend = |ip: &str, ready| Backend {
            ip: ip.parse().expect("an address"),
            ready,
            node: None,
        };
        view.insert(Object::Service(Service {
            id: ObjectName::new("shop", "cart"),
            cluster_ips: vec!["10.96.0.7".parse().expect("an address")],
            ports: vec![port(80)],
            ..Service::default()
        }));
        view.insert(Object::EndpointSlice(EndpointSlice {
            id: ObjectName::new("shop", "cart-abc"),
            service: Some("cart".to_owned()),
            ports: vec![port(8080)],
            backends: vec![backend("10.1.2.1", true), backend("10.1.3.1", false)],
        }));
        view
    }

    fn plan(to: &str, from: &str, given: &[&str]) -> Result<Plan> {
        let end = |text: &str| (!text.is_empty()).then(|| text.parse().expect("an endpoint"));
        let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
        Plan::new(&cluster(), (end(to), end(from)), Proto::Tcp, &given)
    }

    fn nodes(plan: &Plan) -> Vec<&str> {
        plan.nodes.keys().map(String::as_str).collect()
    }

    #[test]
    fn the_nodes_of_the_source_and_of_all_endpoints_are_chosen() {
        let plan = plan("svc/shop/cart:80", "shop/web", &[]).expect("a plan");
        assert_eq!(nodes(&plan), ["n1", "n2", "n3"]);
        let sockets: Vec<_> = plan
            .to
            .expect("an end")
            .sockets
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(sockets, ["10.1.2.1:8080", "10.1.3.1:8080", "10.96.0.7:80"]);
        assert!(
            plan.nodes["n3"]
                .iter()
                .any(|what| what.contains("not ready"))
        );
    }

    #[test]
    fn an_address_stands_for_what_has_it() {
        assert_eq!(
            nodes(&plan("10.96.0.7:80", "", &[]).expect("a plan")),
            ["n2", "n3"]
        );
        assert_eq!(
            nodes(&plan("192.0.2.1:443", "10.1.1.1", &[]).expect("a plan")),
            ["n1"]
        );
        assert_eq!(
            nodes(&plan("192.0.2.1:443", "", &["n9"]).expect("a plan")),
            ["n9"]
        );
        assert!(plan("192.0.2.1:443", "", &[]).is_err());
    }

    #[test]
    fn what_does_not_exist_is_refused_with_what_is_near() {
        let error = plan("shop/crat", "", &[])
            .expect_err("no such pod")
            .to_string();
        assert!(error.contains("there is no pod shop/crat"), "{error}");
        let error = plan("svc/shop/cart:81", "", &[])
            .expect_err("no such port")
            .to_string();
        assert!(error.contains("no TCP port 81"), "{error}");
    }

    #[test]
    fn too_many_nodes_have_to_be_named() {
        let mut view = View::default();
        for n in 1..=9 {
            pod(
                &mut view,
                &format!("p{n}"),
                &format!("10.1.{n}.1"),
                &format!("n{n}"),
            );
        }
        let to = "10.1.0.0/16".parse().expect("a prefix");
        let error = Plan::new(&view, (Some(to), None), Proto::Any, &[]).expect_err("nine nodes");
        assert!(error.to_string().contains("on 9 nodes"), "{error}");
    }
}
