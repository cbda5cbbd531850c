//! Path MTU discovery through a Service's address: the message about a large packet speaks of the
//! translated connection.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use whydrop_tests::{
    deadline,
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVICE: &str = "10.20.96.10:80";
const SERVER: &str = "10.20.2.3:8080";
const LARGE: usize = 200_000;

/// For how long a client waits in vain: longer than it takes to see that a segment is sent again and
/// again.
const HANGS: Duration = Duration::from_secs(12);

fn take_all(mut connection: TcpStream) {
    let mut received = 0;
    let mut buffer = [0; 1 << 16];
    while received < LARGE {
        match connection.read(&mut buffer) {
            Ok(count @ 1..) => received += count,
            _ => return,
        }
    }
    // The client may have given up.
    let _ = connection.write_all(b"thanks");
}

/// Whether everything was sent, and the server has said so.
fn upload(stage: &Stage, patience: Duration) -> Result<bool> {
    let service: SocketAddr = SERVICE.parse()?;
    stage.enter("a", || {
        let mut connection = TcpStream::connect(service)?;
        connection.set_write_timeout(Some(patience))?;
        connection.set_read_timeout(Some(patience))?;
        match connection.write_all(&vec![b'z'; LARGE]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            sent => sent?,
        }
        match connection.read(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            read => Ok(read? > 0),
        }
    })
}

/// The way to the server takes less than its link does. `rules` are the node's.
fn trace(rules: &str, patience: Duration, complete: bool) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "route add 10.20.2.3 dev vb mtu lock 1300")?;
    stage.exec(
        "node",
        "iptables -t nat -A PREROUTING -d 10.20.96.10/32 -p tcp --dport 80 -j DNAT --to-destination \
         10.20.2.3:8080",
    )?;
    stage.exec("node", rules)?;
    stage.serve_with("b", SERVER, |_| Ok(()), take_all)?;
    stage.trace(["node"], SERVICE, |_| {
        ensure!(upload(&stage, patience)? == complete, "sent: {}", !complete);
        Ok(())
    })
}

#[test]
fn healthy() -> Result<()> {
    trace("true", deadline(), true)?.silent().map(drop)
}

#[test]
fn the_message_is_dropped() -> Result<()> {
    let lost = "iptables -A OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP";
    trace(lost, HANGS, false)?
        .outcome("stalled")?
        .verdict(&ExpectedVerdict::any_of(["mtu"]).at_least("likely"))?;
    Ok(())
}
