//! What a probe sends, and what it leaves: nothing that its plan does not hold, and nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    net::{IpAddr, SocketAddr},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tracer_model::{Protocol, Sending};
use whydrop_tests::{
    UNPRIVILEGED, binary,
    fault::{Chain, nft},
    lab::{Family, topology::RouterLab},
    poll_until,
    probe::{Probe, Probed},
    record::{Layer, LayerResult},
    tracer::{Reaped, run_to_end},
    traffic::{Capture, SEGMENT, TcpServer, ZoneServer, tls_server},
};

use super::{ignore_echo, lose_icmp, narrow, probe};
use crate::lifecycle::{expect_gone, held};

const PORT: u16 = 8443;

/// Packets that begin something, by protocol, destination and port.
type Begun = BTreeMap<(String, IpAddr, Option<u16>), u32>;

/// Runs a probe twice, the first time dry, and compares what its source sends with what it has listed.
/// Returns what it found, and what was sent.
fn listed(lab: &RouterLab, command: &Probe, family: Family) -> Result<(Probed, Begun)> {
    let capture = Capture::start(&lab.client, "eth0")?;
    let own = lab.client.address(family);
    let dry = command.clone().with("--dry-run").run()?;
    ensure!(dry.layers.is_empty() && dry.status == Some(0), "{dry:?}");
    ensure!(
        capture.begun(own).is_empty(),
        "sent by --dry-run: {:?}",
        capture.begun(own)
    );
    let sent = command.run()?;
    ensure!(
        sent.plan.sends == dry.plan.sends,
        "{:?} and {:?}",
        sent.plan,
        dry.plan
    );
    let begun = capture.begun(own);
    holds(&dry.plan.sends, &begun)?;
    Ok((sent, begun))
}

/// The list holds everything that was begun. Where it leaves the address open, it says to how many of
/// them something is sent.
fn holds(planned: &[Sending], begun: &Begun) -> Result<()> {
    let mut open: BTreeMap<(String, Option<u16>), BTreeSet<IpAddr>> = BTreeMap::new();
    for ((proto, dst, dport), count) in begun {
        let is_segment = proto == SEGMENT;
        let proto_of = if is_segment { "tcp" } else { proto };
        let most_of = |one: &Sending| match is_segment {
            true => one.segments.unwrap_or_default(),
            false => one.most,
        };
        let of_it = |one: &&Sending| {
            let same_port = one.dport == *dport || (one.dst.is_none() && one.dport.is_none());
            one.proto.to_string() == proto_of && same_port && one.dst.is_none_or(|ip| ip == *dst)
        };
        let all: Vec<&Sending> = planned.iter().filter(of_it).collect();
        let most: u32 = all.iter().map(|one| most_of(one)).sum();
        ensure!(
            *count <= most,
            "{count} of {proto} to {dst} {dport:?}, and at most {most} were planned: {planned:?}"
        );
        if all.iter().all(|one| one.dst.is_none()) {
            open.entry((proto.clone(), *dport))
                .or_default()
                .insert(*dst);
        }
    }
    for ((proto, dport), addresses) in &open {
        let proto_of = if proto == SEGMENT { "tcp" } else { proto };
        let fitting = planned
            .iter()
            .filter(|one| one.proto.to_string() == proto_of && one.dst.is_none());
        let most = fitting
            .filter_map(|one| one.addresses)
            .max()
            .unwrap_or_default();
        ensure!(
            addresses.len() <= most as usize,
            "{proto} {dport:?} to {addresses:?}, and at most {most} addresses were planned"
        );
    }
    Ok(())
}

/// Every packet that leaves the source begins something that the plan holds, and no more of it.
#[test]
fn only_what_the_plan_holds() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _server = tls_server::serve(
            &lab.server,
            server,
            "cart.example.com",
            tls_server::Kind::Good,
        )?;
        let command = probe(&lab, &lab.client, server, family)
            .with("--http")
            .with("/");
        let (sent, _) = listed(&lab, &command, family)?;
        sent.healthy()?;
        let segments = sent.plan.sends.iter().filter(|one| one.layer == Layer::Mtu);
        ensure!(
            segments.count() == 2,
            "echo requests and segments: {:?}",
            sent.plan
        );
        Ok(())
    })
}

/// The same for segments of all sizes, where echo requests are not answered.
#[test]
fn only_what_the_plan_holds_without_echo() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _server = TcpServer::echo(&lab.server, server)?;
        ignore_echo(&lab.server)?;
        let command = probe(&lab, &lab.client, server, family);
        let (sent, begun) = listed(&lab, &command, family)?;
        sent.expect(Layer::Mtu, LayerResult::Ok, "in TCP segments")?;
        let count = segments(&begun, server);
        ensure!((1..64).contains(&count), "{count} segments: {begun:?}");
        // A search that takes all its rounds.
        narrow(&lab, family, family.pick(1337, 1381))?;
        lose_icmp(&lab, family)?;
        let (sent, begun) = listed(&lab, &command, family)?;
        sent.expect(Layer::Mtu, LayerResult::Failed, "in TCP segments")?;
        let count = segments(&begun, server);
        ensure!((20..=64).contains(&count), "{count} segments: {begun:?}");
        let said = sent.plan.sends.iter().find_map(|one| one.segments);
        ensure!(said == Some(64), "{:?}", sent.plan);
        Ok(())
    })
}

fn segments(begun: &Begun, to: SocketAddr) -> u32 {
    let of_it = (SEGMENT.to_owned(), to.ip(), Some(to.port()));
    begun.get(&of_it).copied().unwrap_or_default()
}

/// The same for a name with several addresses, whose answer has to be asked for by TCP.
#[test]
fn only_what_the_plan_holds_for_a_name() -> Result<()> {
    let lab = RouterLab::build()?;
    let ips: Vec<IpAddr> = (2..6)
        .map(|host| lab.address(Family::V4, 2, host))
        .collect();
    let mut servers = Vec::new();
    for ip in &ips {
        if *ip != lab.server.address(Family::V4) {
            lab.server
                .run(&format!("ip address add {ip}/24 dev eth0"))?;
        }
        let at = SocketAddr::new(*ip, PORT);
        let kind = tls_server::Kind::Good;
        servers.push(tls_server::serve(
            &lab.server,
            at,
            "cart.example.com",
            kind,
        )?);
    }
    let zone: Vec<_> = ips.iter().map(|ip| ("cart.example.com", *ip)).collect();
    let resolver = lab.server.socket(Family::V4, 53);
    let _dns = ZoneServer::truncating(&lab.server, resolver, &zone)?;
    let directory = TempDir::new()?;
    let file = directory.path().join("resolv.conf");
    fs::write(
        &file,
        format!("nameserver {}\nsearch example.com\n", resolver.ip()),
    )?;
    let command = probe(
        &lab,
        &lab.client,
        format!("cart.example.com:{PORT}"),
        Family::V4,
    )
    .resolver(&file)
    .with("--http")
    .with("/");
    let (sent, _) = listed(&lab, &command, Family::V4)?;
    sent.healthy()?;
    sent.expect(Layer::Tcp, LayerResult::Ok, "4 of 4 addresses answered")?;
    sent.expect(Layer::Application, LayerResult::Ok, "200 OK")?;
    let by_tcp = sent.plan.sends.iter().filter(|one| one.layer == Layer::Dns);
    ensure!(
        by_tcp.filter(|one| one.proto == Protocol::Tcp).count() == 1,
        "{:?}",
        sent.plan
    );
    Ok(())
}

/// In the midst of it, no thread stays in the source's namespace; after SIGINT, no socket that was made
/// there, no process and no kernel program is left.
#[test]
fn interrupted() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    nft(
        &lab.router,
        Chain::inet("forward"),
        "tcp flags & (syn | ack) == syn drop",
    )?;
    let capture = Capture::start(&lab.client, "eth0")?;
    let mut command = probe(&lab, &lab.client, server, Family::V4)
        .with("--timeout")
        .with("1m")
        .command();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = Reaped::new(command.spawn()?);
    capture.wait_for_any(lab.client.address(Family::V4))?;
    let pid = child.0.id();
    poll_until("all threads to be at home", || {
        let inside = namespaces_of_threads(pid).ok()?;
        (!inside.contains(&lab.client.inode())).then_some(())
    })?;
    let own = sockets_of(pid)?;
    let inside = || lab.client.run("ss -Htuwane state all");
    let is_own = |line: &&str| {
        own.iter()
            .any(|inode| line.contains(&format!("ino:{inode} ")))
    };
    ensure!(
        inside()?.lines().any(|line| is_own(&line)),
        "no socket of the probe's: {own:?}"
    );
    let programs = held(pid, "prog_id:")?;
    let links = held(pid, "link_id:")?;
    ensure!(!programs.is_empty(), "no programs");
    kill(Pid::from_raw(pid.try_into()?), Signal::SIGINT)?;
    let status = child.wait("the probe to end")?;
    let mut stdout = String::new();
    child
        .0
        .stdout
        .take()
        .context("a pipe")?
        .read_to_string(&mut stdout)?;
    let probed = Probed::read(&stdout, status.code(), String::new())?;
    ensure!(
        probed.layers.len() == 9 && probed.summary.is_some(),
        "{}",
        probed.shown()
    );
    // A connection that still ends would be there without a process.
    let left = inside()?;
    ensure!(left.trim().is_empty(), "left: {left}");
    expect_gone("link", &links)?;
    expect_gone("prog", &programs)?;
    let filters = lab.client.tc_filters("eth0")?.concat();
    ensure!(
        !filters.contains("whydrop"),
        "programs are there: {filters}"
    );
    Ok(())
}

/// The network namespaces that the threads of a process are in.
fn namespaces_of_threads(pid: u32) -> Result<BTreeSet<u32>> {
    let mut inside = BTreeSet::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // Threads end while we look.
        if let Ok(netns) = fs::metadata(task?.path().join("ns/net")) {
            inside.insert(u32::try_from(netns.ino())?);
        }
    }
    Ok(inside)
}

/// The inode numbers of the sockets that a process holds.
fn sockets_of(pid: u32) -> Result<Vec<String>> {
    let mut inodes = Vec::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = fs::read_link(descriptor?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[");
        inodes.extend(inode.map(|inode| inode.trim_end_matches(']').to_owned()));
    }
    Ok(inodes)
}

/// Without root it refuses, and says what can be had without.
#[test]
fn without_root() -> Result<()> {
    let mut command = Command::new(binary());
    command
        .args(["probe", "--cluster", "a.json", "--kubeconfig", "k"])
        .args(["--from", "10.0.0.2", "10.0.0.1:80"])
        .uid(UNPRIVILEGED)
        .gid(UNPRIVILEGED);
    let output = run_to_end(&mut command)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && output.stdout.is_empty(),
        "{output:?}"
    );
    ensure!(
        stderr.contains("needs root")
            && stderr
                .contains("`whydrop explain --cluster a.json --from 10.0.0.2 --to 10.0.0.1:80`"),
        "{stderr}"
    );
    Ok(())
}
