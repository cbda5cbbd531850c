//! Interfaces that come and go during a trace.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context, Result, ensure};
use whydrop_tests::{
    attempt::AttemptTrace,
    expected::ExpectedAttempt,
    kernel,
    lab::{Family, Lab, Namespace, VethPairs, output, topology::NodeLab},
    poll_until,
    record::Record,
    resource_usage::{ResourceUsage, descriptors, value},
    tracer::Tracer,
    traffic::TcpServer,
};

/// Waits until the tracer of a single namespace has classifiers at an interface, both ways. Polls,
/// since no notification exists.
fn wait_until_probed(tracer: &Tracer, namespace: &Namespace, ifname: &str) -> Result<()> {
    let link = namespace.run(&format!("ip -oneline link show dev {ifname}"))?;
    let (ifindex, _) = link.split_once(':').context("a link has a number")?;
    poll_until(&format!("probes at {ifname}"), || {
        let probes = if kernel::NO_TCX.applies() {
            let filters = namespace.tc_filters(ifname).ok()?;
            let ours = filters.iter().filter(|all| all.contains("direct-action"));
            ours.count()
        } else {
            let all = descriptors(tracer.pid()).ok()?;
            let here = all.iter().map(|info| value(info, "ifindex:"));
            here.filter(|found| *found == Some(ifindex)).count()
        };
        (probes == 2).then_some(())
    })
}

#[test]
fn a_pod_that_is_born_during_the_trace() -> Result<()> {
    let in_lab = Lab::new()?;
    let lab = NodeLab::build_in(&in_lab)?;
    Family::each(|family| {
        let from = in_lab.plan().subnet(family, 1);
        let mut watch = AttemptTrace::start(&[&lab.node], ["--from", &from])?;
        let role = family.pick("pod-c", "pod-d");
        let veth = family.pick("veth-c", "veth-d");
        let pod = lab.further_pod(&in_lab, role, veth)?;
        wait_until_probed(watch.tracer(), &lab.node, veth)?;
        let server = lab.outside.socket(family, 8080);
        let _server = TcpServer::echo(&lab.outside, server)?;
        watch.healthy(
            &pod,
            &lab.outside,
            server,
            &ExpectedAttempt::answered()
                .hops(&[(&lab.node, &format!("{veth} in, cni0 in, eth0 out"))])
                .reply_hops(&[(&lab.node, &format!("eth0 in, cni0 out, {veth} out"))]),
        )?;
        watch.finish().map(drop)
    })
}

/// An interface has the name that it has when a packet passes.
#[test]
fn an_interface_that_gets_another_name() -> Result<()> {
    // A shell would take it for more.
    const RENAMED: &str = "v$(id);x";
    let lab = NodeLab::build()?;
    let from = format!("{}/32", lab.pod_a.address(Family::V4));
    let mut watch = AttemptTrace::start(&[&lab.node], ["--from", &from])?;
    let server = lab.outside.socket(Family::V4, 8080);
    let _server = TcpServer::echo(&lab.outside, server)?;
    let mut name = "veth-a";
    loop {
        watch.healthy(
            &lab.pod_a,
            &lab.outside,
            server,
            &ExpectedAttempt::answered()
                .hops(&[(&lab.node, &format!("{name} in, cni0 in, eth0 out"))])
                .reply_hops(&[(&lab.node, &format!("eth0 in, cni0 out, {name} out"))]),
        )?;
        if name == RENAMED {
            return watch.finish().map(drop);
        }
        // Before Linux 6.3, a name is not changed while the link is up.
        lab.node.run(&format!("ip link set dev {name} down"))?;
        let rename = format!("ip link set dev {name} name {RENAMED}");
        lab.node.run(&rename)?;
        lab.node.run(&format!("ip link set dev {RENAMED} up"))?;
        name = RENAMED;
    }
}

/// On a node with many interfaces the packets of all are seen at once, the same ones at the same
/// hops; those of other namespaces are not.
#[test]
fn a_node_with_many_interfaces() -> Result<()> {
    const MORE: usize = 60;
    let in_lab = Lab::new()?;
    let lab = NodeLab::build_in(&in_lab)?;
    let peer = in_lab.namespace("more")?;
    let pairs = VethPairs {
        name: "more",
        count: MORE,
        group: 0,
    };
    pairs.create(&lab.node, &peer)?;
    Family::each(|family| {
        let from = in_lab.plan().subnet(family, 1);
        let mut watch = AttemptTrace::start(&[&lab.node], ["--from", &from])?;
        let records = watch.tracer().records();
        let Some(Record::Started(started)) = records.first() else {
            anyhow::bail!("{:?}", records.first());
        };
        ensure!(
            started.interfaces > MORE
                && started
                    .hooks
                    .iter()
                    .any(|hook| hook == "tp_btf/netif_receive_skb")
                && started.hooks.iter().all(|hook| !hook.starts_with("tc/")),
            "{started:?}"
        );
        let server = lab.outside.socket(family, 8080);
        {
            let _server = TcpServer::echo(&lab.outside, server)?;
            watch.healthy(
                &lab.pod_a,
                &lab.outside,
                server,
                &ExpectedAttempt::answered()
                    .hops(&[(&lab.node, "veth-a in, cni0 in, eth0 out")])
                    .reply_hops(&[(&lab.node, "eth0 in, cni0 out, veth-a out")]),
            )?;
        }
        watch.finish().map(drop)
    })
}

/// How many BPF links there are, as `bpftool` counts them, apart from those of other processes that
/// come and go: those that use a program of these.
fn links_of(programs: &BTreeSet<String>) -> Result<usize> {
    let known = output(Command::new("bpftool").args(["link", "show"]))?;
    let of_these = known.lines().filter(|line| {
        let program = line.split("prog ").nth(1).map(str::trim);
        program.is_some_and(|program| programs.contains(program))
    });
    Ok(of_these.count())
}

/// Few enough to be attached to, each for itself: nothing is left of them.
#[test]
fn pairs_come_and_go_one_by_one() -> Result<()> {
    const PAIRS: usize = 12;
    let lab = NodeLab::build()?;
    let mut watch = AttemptTrace::start(&[&lab.node], ["--all"])?;
    let pid = watch.tracer().pid();
    let all = descriptors(pid)?;
    let programs = all.iter().filter_map(|info| value(info, "prog_id:"));
    let programs: BTreeSet<String> = programs.map(str::to_owned).collect();
    let (before, links_before) = (ResourceUsage::of(pid)?, links_of(&programs)?);
    for number in 0..PAIRS {
        let (name, peer) = (format!("churn-{number}"), lab.outside.name());
        lab.node.run(&format!(
            "ip link add {name} type veth peer name {name} netns {peer}"
        ))?;
        wait_until_probed(watch.tracer(), &lab.node, &name)?;
        lab.node.run(&format!("ip link delete {name}"))?;
    }
    // Whatever comes last is seen last: then all before it is done.
    lab.node.run("ip link add last type veth peer name tsal")?;
    wait_until_probed(watch.tracer(), &lab.node, "last")?;
    lab.node.run("ip link delete last")?;
    let after = poll_until("the links to go", || {
        let after = ResourceUsage::of(pid).ok()?;
        (after.links == before.links).then_some(after)
    })?;
    println!("figure: before {PAIRS} veth pairs {before}");
    println!("figure: after them {after}");
    ensure!(
        links_of(&programs)? == links_before && after.maps == before.maps,
        "links or maps were left"
    );
    ensure!(
        after.descriptors <= before.descriptors + 2,
        "descriptors were left: {} and then {}",
        before.descriptors,
        after.descriptors
    );
    let trace = watch.finish()?;
    ensure!(trace.stderr.is_empty(), "it complained: {}", trace.stderr);
    Ok(())
}
