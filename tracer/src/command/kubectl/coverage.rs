//! What the ends of the filter have come to stand for since the traces began. The addresses that each trace
//! matches, and the nodes, are those of the start.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    placed::{Thing, places},
    plan::{Plan, protocol},
};
use crate::{
    cli::{Proto, endpoint::Endpoint},
    cluster::{
        owner::Owner,
        resolve::{Resolved, resolve},
        view::View,
    },
};

/// Names that one line has at most.
const SHOWN: usize = 8;

/// What is traced, and what was said to be new.
#[derive(Debug)]
pub(super) struct Coverage {
    ends: Vec<Endpoint>,
    proto: Proto,
    nodes: BTreeSet<String>,
    /// Addresses of names, and what is on which node.
    known: (BTreeSet<IpAddr>, BTreeSet<(String, Thing)>),
}

impl Coverage {
    /// All that the plan covers, and what it leaves out on purpose.
    pub(super) fn new(view: &View, plan: &Plan, proto: Proto) -> Self {
        let ends = [&plan.from, &plan.to].into_iter().flatten();
        let mut coverage = Self {
            ends: ends.map(|end| end.endpoint.clone()).collect(),
            proto,
            nodes: plan.nodes.keys().cloned().collect(),
            known: Default::default(),
        };
        coverage.known = (coverage.addresses(view), coverage.places(view));
        coverage
    }

    /// What is new and not traced, in a sentence; each is said once.
    pub(super) fn news(&mut self, view: &View) -> Option<String> {
        let mut missing = BTreeMap::<Thing, New>::new();
        for ip in self.addresses(view) {
            if self.known.0.insert(ip) {
                let what = match view.owner(ip) {
                    Owner::Pod(pod) => Thing::Pod(pod.id.clone()),
                    _ => Thing::Address(ip),
                };
                missing.entry(what).or_default().addresses.push(ip);
            }
        }
        for (node, what) in self.places(view) {
            let is_new = self.known.1.insert((node.clone(), what.clone()));
            if is_new && !self.nodes.contains(&node) {
                missing.entry(what).or_default().node = Some(node);
            }
        }
        if missing.is_empty() {
            return None;
        }
        let more = match missing.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let shown = missing.iter().take(SHOWN);
        let shown: Vec<String> = shown.map(|(what, new)| new.in_words(what)).collect();
        Some(format!(
            "not traced, because new since the start: {}{more}; start again to include what is new",
            shown.join(", ")
        ))
    }

    /// The addresses of the ends that are names. A prefix or a port goes on matching by itself.
    fn addresses(&self, view: &View) -> BTreeSet<IpAddr> {
        let is_name = |end: &&Endpoint| !matches!(end, Endpoint::Net { .. } | Endpoint::Port(_));
        let ends = self.ends.iter().filter(is_name);
        ends.filter_map(|end| match resolve(view, end, protocol(self.proto)) {
            Resolved::Members(members) => Some(members.sockets),
            _ => None,
        })
        .flatten()
        .map(|socket| socket.ip)
        .collect()
    }

    /// What belongs to the ends, with its node. Whether it is ready makes no difference.
    fn places(&self, view: &View) -> BTreeSet<(String, Thing)> {
        let places = self.ends.iter().flat_map(|end| places(view, end));
        places.map(|placed| (placed.node, placed.what)).collect()
    }
}

/// What is new of something.
#[derive(Debug, Default)]
struct New {
    /// Addresses that no trace matches.
    addresses: Vec<IpAddr>,
    /// Its node, where none runs.
    node: Option<String>,
}

impl New {
    fn in_words(&self, what: &Thing) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let addresses = match what {
            Thing::Address(_) => String::new(),
            _ if addresses.is_empty() => String::new(),
            _ => format!(" ({})", addresses.join(", ")),
        };
        let node = self.node.as_ref().map(|node| format!(" on node {node}"));
        format!("{what}{addresses}{}", node.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::kubectl::fixtures::pod;

    #[test]
    fn what_is_new_is_named_once() {
        let mut view = View::default();
        pod(&mut view, "cart", "10.1.2.1", "n2");
        let end = |text: &str| Some(text.parse::<Endpoint>().expect("an endpoint"));
        let ends = (end("shop/cart"), end("10.1.0.0/16"));
        let plan = Plan::new(&view, ends, Proto::Tcp, &[]).expect("a plan");
        let mut coverage = Coverage::new(&view, &plan, Proto::Tcp);
        assert_eq!(coverage.news(&view), None);

        // On a node that is traced, and in a prefix that matches by itself.
        pod(&mut view, "web", "10.1.2.9", "n2");
        assert_eq!(coverage.news(&view), None);
        // The pod itself, again, elsewhere.
        pod(&mut view, "cart", "10.1.3.1", "n3");
        let news = coverage.news(&view).expect("it has moved");
        assert!(news.contains("shop/cart (10.1.3.1) on node n3"), "{news}");
        assert_eq!(coverage.news(&view), None);
        for n in 1..=20 {
            pod(&mut view, &format!("p{n}"), &format!("10.1.9.{n}"), "n4");
        }
        let news = coverage
            .news(&view)
            .expect("pods of a node without a trace");
        assert!(
            news.contains("shop/p1 on node n4") && news.contains("and 12 more"),
            "{news}"
        );
    }
}
