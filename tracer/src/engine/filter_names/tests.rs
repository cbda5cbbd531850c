use std::{net::IpAddr, time::SystemTime};

use clap::Parser as _;
use tracer_common::filter::ports;

use super::*;
use crate::{
    cli::{
        Cli,
        options::{Config, Mode, TraceConfig},
    },
    cluster::{
        objects::{Backend, EndpointSlice, Pod, Service, ServicePort, TargetPort},
        update::{Change, Update},
        view::Object,
        workload::Controller,
    },
    sink::Terminal,
};

fn config(args: &[&str]) -> TraceConfig {
    let cli = Cli::try_parse_from(["whydrop"].iter().chain(args)).unwrap();
    match Config::new(cli, &Terminal::none()).unwrap().mode {
        Mode::Trace(config) => *config,
        other => panic!("{other:?}"),
    }
}

fn names_of(config: &TraceConfig) -> FilterNames {
    FilterNames::of(config.to.as_ref(), config.from.as_ref(), config.proto)
}

fn put(cluster: &mut Cluster, name: &str, ips: &[&str]) {
    let pod = Pod {
        id: ObjectName::new("shop", name),
        ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        ..Pod::default()
    };
    update(cluster, Change::Put(Box::new(Object::from(pod))));
}

fn update(cluster: &mut Cluster, change: Change) {
    let source = Source::Api;
    cluster.apply(Update { source, change }, SystemTime::now());
}

/// The kernel's sets, as the changes make them.
#[derive(Default)]
struct Sets(HashMap<Member, u32>);

impl Sets {
    fn change(&mut self, changes: Changes) -> Vec<String> {
        let put: BTreeSet<_> = changes
            .put
            .iter()
            .map(|(member, _)| format!("{member:?}"))
            .collect();
        let gone = |member: &Member| !put.contains(&format!("{member:?}"));
        assert!(
            changes.gone.iter().all(gone),
            "put and taken out: {changes:?}"
        );
        self.0.extend(changes.put);
        for member in changes.gone {
            assert!(self.0.remove(&member).is_some(), "{member:?} was not there");
        }
        changes.notes
    }

    fn text(&self) -> String {
        let mut all: Vec<_> = self
            .0
            .iter()
            .map(|(member, value)| {
                let side = ["to", "from"][usize::from(member.side)];
                let value = if *value == ports::ALL { "*" } else { "" };
                format!(
                    "{side} {}:{}{value}",
                    IpAddr::from(member.address),
                    member.port
                )
            })
            .collect();
        all.sort();
        all.join(", ")
    }
}

#[test]
fn the_sets_follow_the_names() {
    let config = config(&["shop/cart:80", "--from", "shop/web"]);
    let mut names = names_of(&config);
    let mut cluster = Cluster::default();
    let mut sets = Sets::default();
    put(&mut cluster, "cart", &["10.244.1.5"]);
    put(&mut cluster, "web", &["10.244.1.6"]);
    sets.change(names.look(&cluster));
    assert!(names.is_resolved());
    assert_eq!(
        sets.text(),
        "from 10.244.1.6:0*, to 10.244.1.5:0, to 10.244.1.5:80"
    );
    assert!(sets.change(names.look(&cluster)).is_empty(), "nothing new");

    // A second address, then another pod of that name.
    put(&mut cluster, "cart", &["10.244.1.5", "fd00::5"]);
    assert_eq!(
        sets.change(names.look(&cluster)),
        ["shop/cart:80 is now also [fd00::5]:80"]
    );
    put(&mut cluster, "cart", &["10.244.1.9"]);
    assert_eq!(
        sets.change(names.look(&cluster)),
        ["shop/cart:80 is now 10.244.1.9:80"]
    );
    assert_eq!(
        sets.text(),
        "from 10.244.1.6:0*, to 10.244.1.9:0, to 10.244.1.9:80"
    );
}

#[test]
fn only_changes_after_the_start_are_news() {
    let config = config(&["shop/cart"]);
    let mut names = names_of(&config);
    let mut cluster = Cluster::default();
    let notes = |names: &mut FilterNames, cluster: &Cluster| {
        let mut effects = Vec::new();
        names.follow(cluster, &mut effects);
        effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Note(_)))
            .count()
    };
    put(&mut cluster, "cart", &["10.244.1.5"]);
    assert_eq!(notes(&mut names, &cluster), 0);
    names.start();
    put(&mut cluster, "cart", &["10.244.1.9"]);
    assert_eq!(notes(&mut names, &cluster), 1);
}

#[test]
fn a_name_that_is_gone_keeps_its_address_until_it_is_another_s() {
    let config = config(&["shop/cart"]);
    let mut names = names_of(&config);
    let mut cluster = Cluster::default();
    let mut sets = Sets::default();
    put(&mut cluster, "cart", &["10.244.1.5"]);
    sets.change(names.look(&cluster));
    update(
        &mut cluster,
        Change::Gone(Kind::Pod, ObjectName::new("shop", "cart")),
    );
    assert_eq!(
        sets.change(names.look(&cluster)),
        ["shop/cart is gone; the filter keeps its last addresses: 10.244.1.5"]
    );
    assert!(sets.change(names.look(&cluster)).is_empty(), "said once");
    assert_eq!(sets.text(), "to 10.244.1.5:0*");
    put(&mut cluster, "other", &["10.244.1.5"]);
    assert_eq!(
        sets.change(names.look(&cluster)),
        ["shop/cart is gone, and its addresses now belong to others: nothing matches"]
    );
    assert_eq!(sets.text(), "");
    put(&mut cluster, "cart", &["10.244.1.7"]);
    assert_eq!(
        sets.change(names.look(&cluster)),
        ["shop/cart is now 10.244.1.7"]
    );
    assert_eq!(sets.text(), "to 10.244.1.7:0*");
}

#[test]
fn why_a_trace_cannot_start() {
    let config = config(&["shop/cart"]);
    let mut names = names_of(&config);
    let mut cluster = Cluster::default();
    names.look(&cluster);
    let refusal =
        |names: &FilterNames, cluster: &Cluster, started: &[Source], silent: &[Source]| {
            names.refusal(cluster, started, silent).unwrap_or_default()
        };
    assert!(refusal(&names, &cluster, &[], &[]).contains("--cluster FILE"));
    let silent = refusal(&names, &cluster, &[Source::Api], &[Source::Api]);
    assert!(silent.contains("the API server did not answer"), "{silent}");
    assert_eq!(
        refusal(&names, &cluster, &[Source::Api], &[]),
        "unknown pod shop/cart: the API server listed no pods; give an address, or the \
         cluster's objects in a file (--cluster FILE)"
    );
    put(&mut cluster, "card", &["10.244.1.5"]);
    names.look(&cluster);
    let some = refusal(&names, &cluster, &[Source::Cri], &[]);
    assert!(
        some.contains("shop/card; but the container runtime did not"),
        "{some}"
    );
    update(&mut cluster, Change::All(Kind::Pod, Vec::new()));
    put(&mut cluster, "card", &["10.244.1.5"]);
    names.look(&cluster);
    assert_eq!(
        refusal(&names, &cluster, &[Source::Api], &[]),
        "there is no pod shop/cart; the nearest names: shop/card"
    );

    // A pod that is still to come: only a live source will report it.
    put(&mut cluster, "cart", &[]);
    names.look(&cluster);
    assert_eq!(refusal(&names, &cluster, &[Source::Api], &[]), "");
    assert_eq!(
        refusal(&names, &cluster, &[Source::File], &[]),
        "shop/cart has no address yet, and the files of --cluster cannot report a change"
    );
}

#[test]
fn long_lists_are_cut() {
    let config = config(&["shop/cart"]);
    let mut names = names_of(&config);
    let mut cluster = Cluster::default();
    let ips = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
    put(&mut cluster, "cart", &ips);
    names.look(&cluster);
    assert_eq!(
        names.whereabouts(config.to.as_ref().unwrap()).unwrap(),
        "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4 and 1 more"
    );
}

/// A pod that a ReplicaSet of the Deployment `front` has made.
fn roll_out(cluster: &mut Cluster, template: &str, pod: &str, ip: &str) {
    let pod = Pod {
        id: ObjectName::new("shop", format!("front-{template}-{pod}")),
        controller: Some(Controller {
            kind: "ReplicaSet".to_owned(),
            name: format!("front-{template}"),
        }),
        labels: [("pod-template-hash".to_owned(), template.to_owned())].into(),
        ips: vec![ip.parse().unwrap()],
        ..Pod::default()
    };
    update(cluster, Change::Put(Box::new(Object::from(pod))));
}

/// A Service with one pod behind it.
fn serve(cluster: &mut Cluster) {
    let port = |port| ServicePort {
        name: String::new(),
        protocol: Protocol::Tcp,
        port,
        node_port: None,
        target: TargetPort::Number(8080),
    };
    let service = Service {
        id: ObjectName::new("shop", "cart"),
        cluster_ips: vec!["10.96.0.7".parse().unwrap()],
        ports: vec![port(80)],
        ..Service::default()
    };
    let slice = EndpointSlice {
        id: ObjectName::new("shop", "cart-1"),
        service: Some("cart".to_owned()),
        ports: vec![port(8080)],
        backends: vec![Backend {
            ip: "10.244.1.5".parse().unwrap(),
            ready: true,
            node: None,
        }],
    };
    update(cluster, Change::Put(Box::new(Object::Service(service))));
    update(cluster, Change::Put(Box::new(Object::EndpointSlice(slice))));
}

#[test]
fn a_workload_is_followed_through_its_rollouts() {
    let config = config(&["svc/shop/cart:80", "--from", "deploy/shop/front"]);
    let mut names = names_of(&config);
    let mut cluster = Cluster::default();
    let mut sets = Sets::default();
    let from = |sets: &Sets| {
        let text = sets.text();
        let from: Vec<_> = text
            .split(", ")
            .filter(|one| one.starts_with("from"))
            .collect();
        from.join(", ")
    };
    for kind in [Kind::Pod, Kind::EndpointSlice] {
        update(&mut cluster, Change::All(kind, Vec::new()));
    }
    serve(&mut cluster);
    roll_out(&mut cluster, "5f55779c87", "dwslg", "10.244.1.6");
    // Of another workload, whose name begins alike.
    put(&mut cluster, "front-end", &["10.244.1.7"]);
    sets.change(names.look(&cluster));
    assert!(names.is_resolved());
    assert_eq!(
        sets.text(),
        "from 10.244.1.6:0*, to 10.244.1.5:0, to 10.244.1.5:8080, to 10.96.0.7:0, to 10.96.0.7:80"
    );

    // The new pod comes before the old one goes.
    roll_out(&mut cluster, "7c9d8b6f5", "x2x4z", "10.244.2.9");
    assert_eq!(
        sets.change(names.look(&cluster)),
        ["deploy/shop/front is now also 10.244.2.9"]
    );
    assert_eq!(from(&sets), "from 10.244.1.6:0*, from 10.244.2.9:0*");
    let gone = |pod| Change::Gone(Kind::Pod, ObjectName::new("shop", pod));
    update(&mut cluster, gone("front-5f55779c87-dwslg"));
    assert_eq!(
        sets.change(names.look(&cluster)),
        ["deploy/shop/front is no longer 10.244.1.6"]
    );
    assert_eq!(from(&sets), "from 10.244.2.9:0*");

    // Scaled to nothing: packets to the last pod are still its own, until another pod has the address.
    update(&mut cluster, gone("front-7c9d8b6f5-x2x4z"));
    let notes = sets.change(names.look(&cluster));
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(from(&sets), "from 10.244.2.9:0*");
    put(&mut cluster, "other", &["10.244.2.9"]);
    sets.change(names.look(&cluster));
    assert_eq!(from(&sets), "");
}
