//! Names from the container runtime of the node, with no API server: pods of a real containerd.

use std::{net::SocketAddr, os::unix::net::UnixListener, process::Command};

use anyhow::{Result, ensure};
use whydrop_tests::{
    binary, deadline,
    fault::{Chain, nft},
    lab::{Family, Lab, Namespace, Topology, topology::RouterLab},
    poll_until,
    record::{self, Drop as DropRecord, Record},
    runtime::{self, Containerd, Pod},
    tracer::{Trace, Tracer, run_to_end, watching},
    traffic::{Flow, Outcome, TcpAttempt, TcpServer},
};

const PORT: u16 = 8080;
const LABELS: [(&str, &str); 2] = [("app", "cart"), ("tier", "back")];

/// A router that is a node: it runs pods.
struct Node {
    containerd: Containerd,
    lab: RouterLab,
}

impl Node {
    const PODS: u8 = 3;

    /// With room for so many pods at a time.
    fn build(room: u8) -> Result<Self> {
        runtime::require()?;
        let lab = Lab::new()?;
        let subnets = Family::BOTH.map(|family| lab.plan().subnet(family, Self::PODS));
        let lab = RouterLab::build_in(&lab)?;
        let containerd = Containerd::start(&lab.router, &subnets, room)?;
        Ok(Self { containerd, lab })
    }

    /// Drops what the node forwards to this port.
    fn break_port(&self) -> Result<()> {
        let rule = format!("tcp dport {PORT} drop");
        nft(&self.lab.router, Chain::inet("forward"), &rule)
    }

    fn trace(&self, pods: &[&Pod], more: &[String]) -> Result<Tracer> {
        self.trace_to(&format!(":{PORT}"), pods, more)
    }

    fn trace_to(&self, end: &str, pods: &[&Pod], more: &[String]) -> Result<Tracer> {
        let mut namespaces: Vec<&Namespace> = self.lab.namespaces();
        namespaces.extend(pods.iter().map(|pod| pod.host.namespace()));
        let mut arguments = watching(&namespaces);
        arguments.push(end.to_owned());
        arguments.extend_from_slice(more);
        Tracer::start_with_cluster(arguments)
    }

    fn cri_socket(&self) -> [String; 2] {
        let socket = self.containerd.socket();
        ["--cri-socket".to_owned(), socket.display().to_string()]
    }

    fn pod_address(&self, pod: &Pod, family: Family) -> SocketAddr {
        pod.host.socket(family, PORT)
    }
}

fn named(pod: &Pod) -> record::Pod {
    let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    record::Pod {
        namespace: Pod::NAMESPACE.to_owned(),
        name: pod.name.clone(),
        node: None,
        labels: LABELS.map(label).into(),
    }
}

/// Waits for a drop between these ends that has these names.
fn expect_names(
    tracer: &mut Tracer,
    flow: Flow,
    src_pod: Option<&record::Pod>,
    dst_pod: Option<&record::Pod>,
) -> Result<()> {
    let wanted = |drop: &DropRecord| {
        drop.flow == flow.into()
            && drop.reason.is("NETFILTER_DROP")
            && (drop.src_pod.as_ref(), drop.dst_pod.as_ref()) == (src_pod, dst_pod)
    };
    let what = format!("a drop of {flow} with the names {src_pod:?} and {dst_pod:?}");
    tracer
        .wait_for(&what, |record| record.as_drop().is_some_and(wanted))
        .map(drop)
}

#[test]
fn drops_to_and_from_a_pod_carry_its_name() -> Result<()> {
    let mut node = Node::build(2)?;
    let pod = node.containerd.pod("cart-0", &LABELS)?;
    let outside = &node.lab.client;
    let _servers =
        Family::BOTH.map(|family| TcpServer::echo(&pod.host, node.pod_address(&pod, family)));
    // All is well, and silent.
    let tracer = node.trace(&[&pod], &node.cri_socket())?;
    for family in Family::BOTH {
        let attempt = TcpAttempt::start(outside, None, node.pod_address(&pod, family))?;
        let outcome = attempt.outcome(deadline())?;
        ensure!(matches!(outcome, Outcome::Connected(_)), "{outcome:?}");
    }
    tracer.stop()?.expect_silence()?;

    node.break_port()?;
    let mut verbose = Vec::from(node.cri_socket());
    verbose.push("--debug".to_owned());
    let mut tracer = node.trace(&[&pod], &verbose)?;
    for family in Family::BOTH {
        let cart = named(&pod);
        let into = TcpAttempt::start(outside, None, node.pod_address(&pod, family))?;
        expect_names(&mut tracer, into.flow(), None, Some(&cart))?;
        let server = outside.socket(family, PORT);
        let out = TcpAttempt::start(&pod.host, None, server)?;
        expect_names(&mut tracer, out.flow(), Some(&cart), None)?;
    }
    let trace = tracer.stop()?;
    no_problem(&trace)?;
    let inode = pod.host.inode();
    let here = format!("{}/{} runs here: netns {inode}", Pod::NAMESPACE, pod.name);
    ensure!(
        trace.stderr.contains(&here),
        "{here} is not in\n{}",
        trace.stderr
    );

    // Without the container runtime the same drops have no pods.
    let mut tracer = node.trace(&[&pod], &["--no-kube".to_owned()])?;
    let into = TcpAttempt::start(outside, None, node.pod_address(&pod, Family::V4))?;
    expect_names(&mut tracer, into.flow(), None, None)?;
    let trace = tracer.stop()?;
    ensure!(trace.drops().all(|drop| drop.dst_pod.is_none()));
    Ok(())
}

#[test]
fn a_pod_that_comes_later_has_its_name_and_one_that_is_gone_gives_it_up() -> Result<()> {
    // One address of each family: who comes next has the one of who went.
    let mut node = Node::build(1)?;
    node.break_port()?;
    let mut tracer = node.trace(&[], &node.cri_socket())?;
    let first = node.containerd.pod("cart-0", &LABELS)?;
    let address = node.pod_address(&first, Family::V4);
    let attempt = |node: &Node| TcpAttempt::start(&node.lab.client, None, address);
    let cart = named(&first);
    expect_names(&mut tracer, attempt(&node)?.flow(), None, Some(&cart))?;

    node.containerd.remove(first)?;
    // The runtime reports it a moment later.
    poll_until("the name to be given up", || {
        is_named(&mut tracer, attempt(&node))
            .map(|named| (!named).then_some(()))
            .transpose()
    })??;
    let earlier = tracer.records().len();

    let second = node.containerd.pod("cart-1", &LABELS)?;
    ensure!(node.pod_address(&second, Family::V4) == address);
    let other = named(&second);
    expect_names(&mut tracer, attempt(&node)?.flow(), None, Some(&other))?;
    let trace = tracer.stop()?;
    let claimed = trace.records[earlier..]
        .iter()
        .filter_map(Record::as_drop)
        .any(|drop| drop.dst_pod.as_ref() == Some(&cart));
    ensure!(!claimed, "{} still has the address", cart.name);
    no_problem(&trace)
}

/// The filter goes with the name: from one pod to the next of that name, which has another address.
#[test]
fn a_filter_by_name_follows_the_name() -> Result<()> {
    let mut node = Node::build(3)?;
    node.break_port()?;
    let first = node.containerd.pod("cart-0", &LABELS)?;
    let before = node.pod_address(&first, Family::V4);
    let mut tracer = node.trace_to(&format!("shop/cart-0:{PORT}"), &[], &node.cri_socket())?;
    let attempt = |node: &Node, address| TcpAttempt::start(&node.lab.client, None, address);
    let dropped = |tracer: &mut Tracer, flow: Flow| {
        let is_it = |drop: &DropRecord| drop.flow == flow.into();
        tracer
            .wait_for(&format!("a drop of {flow}"), |record| {
                record.as_drop().is_some_and(is_it)
            })
            .map(drop)
    };
    dropped(&mut tracer, attempt(&node, before)?.flow())?;

    // Who still asks for a pod that is gone is what such a trace is to show.
    node.containerd.remove(first)?;
    dropped(&mut tracer, attempt(&node, before)?.flow())?;

    let second = node.containerd.pod("cart-0", &LABELS)?;
    let after = node.pod_address(&second, Family::V4);
    ensure!(after != before, "the plugin gave the same address again");
    // The runtime reports it a moment later. The SYN is sent again until then.
    let patient = attempt(&node, after)?;
    dropped(&mut tracer, patient.flow())?;
    let earlier = tracer.records().len();
    attempt(&node, before)?;
    dropped(&mut tracer, attempt(&node, after)?.flow())?;
    let trace = tracer.stop()?;
    let mut later = trace.records[earlier..].iter().filter_map(Record::as_drop);
    ensure!(
        later.all(|drop| drop.flow.dst == after.ip()),
        "{before} is still in the filter"
    );
    ensure!(
        trace
            .stderr
            .contains(&format!("shop/cart-0:{PORT} is now ")),
        "{}",
        trace.stderr
    );
    no_problem(&trace)
}

/// Whether the drop of this attempt has a name where it goes to.
fn is_named(tracer: &mut Tracer, attempt: Result<TcpAttempt>) -> Result<bool> {
    let flow = attempt?.flow();
    let is_it = |record: &Record| {
        record
            .as_drop()
            .is_some_and(|drop| drop.flow == flow.into())
    };
    let record = tracer.wait_for(&format!("a drop of {flow}"), is_it)?;
    Ok(record.as_drop().is_some_and(|drop| drop.dst_pod.is_some()))
}

#[test]
fn a_silent_runtime_does_not_delay_the_trace() -> Result<()> {
    let lab = RouterLab::build()?;
    nft(
        &lab.router,
        Chain::inet("forward"),
        &format!("tcp dport {PORT} drop"),
    )?;
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("cri.sock");
    let runtime = UnixListener::bind(&socket)?;
    runtime.set_nonblocking(true)?;
    let mut arguments = watching(&lab.namespaces());
    arguments.extend([format!(":{PORT}"), "--cri-socket".to_owned()]);
    arguments.push(socket.display().to_string());
    let mut tracer = Tracer::start_with_cluster(arguments)?;
    let attempt = TcpAttempt::start(&lab.client, None, lab.server.socket(Family::V4, PORT))?;
    expect_names(&mut tracer, attempt.flow(), None, None)?;
    // It takes the connection, and is asked again once the first question was given up.
    let accepted = || poll_until("to be asked", || runtime.accept().ok());
    let _asked = [accepted()?, accepted()?];
    tracer.wait_for_note("does not answer within")?;
    let trace = tracer.stop()?;
    let notes = trace.stderr.matches("does not answer within").count();
    ensure!(notes == 1, "{}", trace.stderr);
    Ok(())
}

#[test]
fn a_socket_that_is_none_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for path in [&directory.path().join("cri.sock"), directory.path()] {
        let mut command = Command::new(binary());
        let output = run_to_end(command.args(["--all", "--cri-socket"]).arg(path))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{stderr}");
        for word in ["--cri-socket", "containerd", "leave the option out"] {
            ensure!(stderr.contains(word), "{stderr}");
        }
    }
    Ok(())
}

fn no_problem(trace: &Trace) -> Result<()> {
    ensure!(
        !trace.stderr.contains("cannot name this node's pods"),
        "{}",
        trace.stderr
    );
    Ok(())
}
