//! Queues and memory that are full, or only look so: a token bucket that is smaller than a frame, an
//! interface without a carrier, memory for fragments.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
};

/// Enough for full frames.
const BYTES: usize = 8000;

fn swallow(mut connection: TcpStream) {
    let mut bytes = vec![0; BYTES];
    // The client may be gone by now.
    if connection.read_exact(&mut bytes).is_ok() {
        let _ = connection.write_all(b"all");
    }
}

/// A transfer to a pod whose interface has a token bucket (containernetworking/plugins#609).
fn transfer(burst: &str, is_answered: bool) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    for role in ["a", "b"] {
        stage.exec(role, "ethtool -K eth0 tso off gso off gro off")?;
    }
    stage.exec("node", "ethtool -K vb tso off gso off gro off")?;
    stage.exec(
        "node",
        &format!("tc qdisc add dev vb root tbf rate 15mbit burst {burst} latency 25ms"),
    )?;
    stage.serve_with("b", "10.20.2.3:8080", |_| Ok(()), swallow)?;
    stage.trace(["node", "a", "b"], "10.20.2.3:8080", |watch| {
        let mut client = watch
            .stage()
            .enter("a", || TcpStream::connect("10.20.2.3:8080"))?;
        client.write_all(&vec![7; BYTES])?;
        if is_answered {
            client.read_exact(&mut [0; 3])?;
            drop(client);
            watch.until_all_closed()
        } else {
            watch.until_drop()
        }
    })
}

#[test]
fn bucket_is_smaller_than_a_frame() -> Result<()> {
    transfer("1000", false)?.verdict(
        &ExpectedVerdict::any_of(["queue"])
            .at_least("confirmed")
            .why("larger than the burst")
            .names("vb")
            .fix("tc qdisc replace dev vb root tbf")
            .never_says(["is full"]),
    )?;
    Ok(())
}

/// The pod's end is down: the node's has no carrier, and its routes stay.
fn carrier(is_up: bool) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.ip(
        "node",
        "neigh replace 10.20.2.3 lladdr 02:00:00:00:00:33 dev vb nud permanent",
    )?;
    stage.ip("b", "link set eth0 address 02:00:00:00:00:33")?;
    if !is_up {
        stage.ip("b", "link set eth0 down")?;
    }
    let report = stage.trace(["node", "a"], "10.20.2.3:8080", |watch| {
        let call = watch.dial("a", "10.20.2.3:8080")?;
        if !is_up {
            watch.until_drop()?;
        }
        Ok(call)
    })?;
    Ok(report)
}

#[test]
fn interface_has_no_carrier() -> Result<()> {
    carrier(false)?.verdict(
        &ExpectedVerdict::any_of(["route"])
            .at_least("confirmed")
            .names("vb")
            .why("no carrier")
            .never_says(["is full"]),
    )?;
    Ok(())
}

/// A datagram in many fragments, to a pod with this much memory for them (oracle/bpftune#71).
fn fragments(limit: Option<u32>) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    if let Some(limit) = limit {
        stage.sysctl(
            "b",
            &format!("net.ipv4.ipfrag_low_thresh={limit} net.ipv4.ipfrag_high_thresh={limit}"),
        )?;
    }
    stage.serve_udp("b", "10.20.2.3:5000")?;
    stage.trace(["node", "a", "b"], "10.20.2.3:5000", |watch| {
        let socket = watch
            .stage()
            .enter("a", || UdpSocket::bind("10.20.1.2:0"))?;
        socket.send_to(&vec![7; 20_000], "10.20.2.3:5000")?;
        if limit.is_some() {
            return watch.until_drop();
        }
        socket.recv_from(&mut vec![0; 20_000])?;
        Ok(())
    })
}

#[test]
fn memory_for_fragments_is_full() -> Result<()> {
    fragments(Some(2000))?.verdict(
        &ExpectedVerdict::new("queue", "likely")
            .why("ipfrag_high_thresh=2000")
            .evidence("ReasmFails")
            .fix("net.ipv4.ipfrag_high_thresh=4194304"),
    )?;
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    transfer("64kb", true)?.silent()?;
    fragments(None)?.silent()?;
    let stage = Stage::routed_pods()?;
    stage.serve("b", "10.20.2.3:8080")?;
    let report = stage.trace(["node", "a", "b"], "10.20.2.3:8080", |watch| {
        watch.dial("a", "10.20.2.3:8080")?.ends(End::Answered)
    })?;
    report.silent().map(drop)
}

/// A query to a DNS server with this socket, which does not answer.
fn silent_server(address: &str, serve: impl FnOnce(UdpSocket) -> Result<()>) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    serve(stage.enter("b", || UdpSocket::bind(address))?)?;
    let report = stage.trace(["node", "b"], "10.20.2.3:53", |watch| {
        watch.ask("a", "10.20.2.3:53")?.ends(End::Silent)
    })?;
    report.outcome("unanswered")?;
    Ok(report)
}

/// A DNS server that hangs: queries arrive, and wait in its socket.
fn server_that_hangs(address: &str) -> Result<()> {
    let mut kept = None;
    let report = silent_server(address, |socket| {
        kept = Some(socket);
        Ok(())
    })?;
    report.verdict(
        &ExpectedVerdict::new("socket", "likely")
            .why("waits in the socket of udp port 53")
            .evidence("bytes that wait to be read")
            .evidence("no datagram was read in its namespace meanwhile")
            .fix("restart it if it hangs"),
    )?;
    Ok(())
}

#[test]
fn datagrams_wait_in_the_socket() -> Result<()> {
    server_that_hangs("10.20.2.3:53")
}

#[test]
fn datagrams_wait_in_a_socket_of_both_families() -> Result<()> {
    server_that_hangs("[::]:53")
}

/// A DNS server that reads its queries, and answers none: whatever is to blame, it does not hang.
fn server_that_reads(backlog: usize) -> Result<()> {
    let report = silent_server("10.20.2.3:53", |socket| {
        let stop = Duration::from_secs(30);
        socket.set_read_timeout(Some(stop))?;
        let own = socket.local_addr()?;
        for _ in 0..backlog {
            socket.send_to(b"another client", own)?;
        }
        thread::spawn(move || {
            // Each client sends its next query once this one is read: the queue is always as long.
            while socket.recv(&mut [0; 512]).is_ok() {
                thread::sleep(Duration::from_millis(1));
                if backlog > 0 && socket.send_to(b"another client", own).is_err() {
                    return;
                }
            }
        });
        Ok(())
    })?;
    let verdict = ExpectedVerdict::any_of(["unknown"]).never_says(["does not read"]);
    report.verdict(&verdict)?;
    let mut refuted = report
        .attempts()
        .into_iter()
        .filter_map(|attempt| attempt.verdict.as_ref())
        .flat_map(|verdict| &verdict.refuted);
    let is_refuted = refuted.any(|refuted| refuted.rule.as_str() == "unread-socket");
    ensure!(
        is_refuted,
        "it should say that the socket is read:\n{report}"
    );
    Ok(())
}

#[test]
fn server_reads_and_does_not_answer() -> Result<()> {
    server_that_reads(0)
}

#[test]
fn busy_server_reads_and_does_not_answer() -> Result<()> {
    server_that_reads(20)
}
