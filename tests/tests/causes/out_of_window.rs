//! Conntrack calls a segment invalid that is out of its window, and does not translate it back: it
//! reaches the client from the endpoint's own address (kubernetes/kubernetes#74839).

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use anyhow::Result;
use whydrop_tests::{
    deadline,
    expected::ExpectedVerdict,
    incident::{Report, Stage},
    traffic::{Flow, ForgedSegment, Protocol, numbers},
};

const SERVER: &str = "10.20.2.3:8080";
const SERVICE: &str = "10.20.96.10:80";
/// Beyond any window.
const FAR: u32 = 0x0200_0000;

fn trace(filter: &str, liberal: u8) -> Result<Report> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        &format!(
            "iptables -t nat -A PREROUTING -d 10.20.96.10/32 -p tcp --dport 80 -j DNAT \
             --to-destination {SERVER}"
        ),
    )?;
    let setting = format!("net.netfilter.nf_conntrack_tcp_be_liberal={liberal}");
    stage.sysctl("node", &setting)?;
    let listener = stage.enter("b", || TcpListener::bind(SERVER))?;
    stage.trace(["node", "a", "b"], filter, |watch| {
        let mut client = stage.enter("a", || TcpStream::connect(SERVICE))?;
        client.set_read_timeout(Some(deadline()))?;
        let (mut server, _) = listener.accept()?;
        let (seq, ack) = numbers(&server)?;
        let flow = Flow {
            protocol: Protocol::Tcp,
            src: SERVER.parse()?,
            dst: client.local_addr()?,
        };
        ForgedSegment::of(flow, seq.wrapping_add(FAR))?
            .acknowledging(ack)
            .with_checksum()
            .send(stage.namespace("b"))?;
        if liberal == 0 {
            return watch.until_drop();
        }
        // It is translated, and the client's socket knows better than to take it.
        server.write_all(b"hello")?;
        client.read_exact(&mut [0; 5])?;
        Ok(())
    })
}

#[test]
fn segment_is_not_translated_back() -> Result<()> {
    for filter in [SERVICE, "--from 10.20.1.2"] {
        trace(filter, 0)?.verdict(
            &ExpectedVerdict::any_of(["conntrack"])
                .at_least("likely")
                .why("10.20.2.3:8080")
                .fix("net.netfilter.nf_conntrack_tcp_be_liberal=1")
                .never_says(["no socket listens"]),
        )?;
    }
    Ok(())
}

#[test]
fn healthy() -> Result<()> {
    trace(SERVICE, 1)?.silent().map(drop)
}
