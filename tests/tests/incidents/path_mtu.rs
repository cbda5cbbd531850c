//! Path MTU discovery that works drops a segment or two, and is no failure; one that does not work
//! stalls the connection in whatever state sends the data.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use whydrop_tests::{
    deadline,
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const SERVER: &str = "10.20.2.3:8080";
const LARGE: usize = 200_000;

/// For how long a client waits in vain: longer than it takes to see that a segment is sent again
/// and again.
const HANGS: Duration = Duration::from_secs(12);

/// Waits for the client's last word, then sends much.
fn send_much(mut connection: TcpStream) {
    let _ = connection.read_to_end(&mut Vec::new());
    // The client may be gone by now.
    let _ = connection.write_all(&vec![b'z'; LARGE]);
}

/// Asks, says that this is all, and reads. The server sends its answer on a half-closed connection.
fn download(stage: &Stage, patience: Duration) -> Result<usize> {
    let server: SocketAddr = SERVER.parse()?;
    stage.enter("a", || {
        let mut connection = TcpStream::connect(server)?;
        connection.set_read_timeout(Some(patience))?;
        connection.write_all(b"all of it")?;
        connection.shutdown(Shutdown::Write)?;
        let mut received = 0;
        let mut buffer = [0; 1 << 16];
        loop {
            match connection.read(&mut buffer) {
                Ok(0) => return Ok(received),
                Ok(count) => received += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(received),
                Err(error) => return Err(error.into()),
            }
        }
    })
}

/// The way to the client takes less than its link does. `rules` are the node's.
fn trace(watched: &'static str, rules: &str, patience: Duration, complete: bool) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.ip("node", "route add 10.20.1.2 dev va mtu lock 1300")?;
    stage.exec("node", rules)?;
    stage.serve_with("b", SERVER, |_| Ok(()), send_much)?;
    stage.trace([watched], SERVER, |_| {
        let received = download(&stage, patience)?;
        ensure!((received == LARGE) == complete, "{received} bytes");
        Ok(())
    })
}

const BLACK_HOLE: &str = "iptables -A OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP";

#[test]
fn it_works_in_sight_of_the_node() -> Result<()> {
    trace("node", "true", deadline(), true)?.silent().map(drop)
}

#[test]
fn it_works_in_sight_of_the_server() -> Result<()> {
    trace("b", "true", deadline(), true)?.silent().map(drop)
}

#[test]
fn a_half_closed_connection_stalls_in_sight_of_the_node() -> Result<()> {
    let report = trace("node", BLACK_HOLE, HANGS, false)?;
    report
        .outcome("stalled")?
        .verdict(&ExpectedVerdict::any_of(["mtu"]).at_least("likely"))?;
    Ok(())
}

#[test]
fn a_half_closed_connection_stalls_in_sight_of_the_server() -> Result<()> {
    let report = trace("b", BLACK_HOLE, HANGS, false)?;
    report
        .outcome("stalled")?
        .verdict(&ExpectedVerdict::any_of(["mtu"]))?;
    Ok(())
}
