//! Untidy but healthy traffic: clients hang up on data under way, which then finds no socket, or
//! reset; connections are closed one half at a time; one reader is slow. Nothing is missing, so
//! nothing may be reported.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use socket2::SockRef;
use whydrop_tests::{
    deadline,
    incident::{Report, Stage},
    traffic::ping,
};

const SERVER: &str = "10.20.2.3";
const SERVICE: &str = "10.20.96.10:80";
const LARGE: usize = 400_000;

fn send_much(mut connection: TcpStream) {
    // Most clients do not wait for all of it.
    let _ = connection.write_all(&vec![b'z'; LARGE]);
}

fn node() -> Result<Stage> {
    let stage = Stage::routed_pods()?;
    stage.exec(
        "node",
        "iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
         iptables -t nat -A PREROUTING -d 10.20.96.10/32 -p tcp --dport 80 \
            -j DNAT --to-destination 10.20.2.3:8080",
    )?;
    stage.serve("b", "10.20.2.3:8080")?;
    stage.serve_with("b", "10.20.2.3:8081", |_| Ok(()), send_much)?;
    stage.serve_dns("b", "10.20.2.3:53")?;
    stage.serve_udp("b", "10.20.2.3:8125")?;
    Ok(stage)
}

fn connect(port: u16) -> Result<TcpStream> {
    let address: SocketAddr = format!("{SERVER}:{port}").parse()?;
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(deadline()))?;
    Ok(connection)
}

fn converse() -> Result<()> {
    for _ in 0..60 {
        for mut connection in [connect(8080)?, TcpStream::connect(SERVICE)?] {
            connection.write_all(b"hello")?;
            connection.read_exact(&mut [0; 200])?;
        }
    }
    Ok(())
}

fn hang_up() -> Result<()> {
    for _ in 0..10 {
        connect(8081)?.read_exact(&mut [0; 1000])?;
    }
    Ok(())
}

fn reset() -> Result<()> {
    for _ in 0..5 {
        let mut connection = connect(8081)?;
        SockRef::from(&connection).set_linger(Some(Duration::ZERO))?;
        connection.read_exact(&mut [0; 10])?;
    }
    Ok(())
}

fn close_one_half() -> Result<()> {
    let mut connection = connect(8080)?;
    connection.write_all(b"x")?;
    connection.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    ensure!(answer.len() == 200, "{} bytes", answer.len());
    Ok(())
}

/// Its pauses are what it is about: the window closes again and again.
fn read_slowly() -> Result<()> {
    let mut connection = connect(8081)?;
    let mut received = 0;
    while let count @ 1.. = connection.read(&mut [0; 20_000])? {
        received += count;
        thread::sleep(Duration::from_millis(20));
    }
    ensure!(received == LARGE, "{received} bytes");
    Ok(())
}

fn send_datagrams() -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(deadline()))?;
    for number in 0..20 {
        socket.send_to(format!("stats:{number}|c").as_bytes(), (SERVER, 8125))?;
        socket.recv(&mut [0; 99])?;
    }
    Ok(())
}

fn trace(filter: &str) -> Result<Report> {
    let stage = node()?;
    stage.trace(["node", "a", "b"], filter, |watch| {
        for _ in 0..5 {
            ping(stage.namespace("a"), SERVER.parse()?)?;
        }
        for _ in 0..10 {
            watch.ask("a", "10.20.2.3:53")?;
        }
        stage.enter("a", || -> Result<()> {
            converse()?;
            hang_up()?;
            reset()?;
            close_one_half()?;
            read_slowly()?;
            send_datagrams()
        })?;
        watch.until_all_closed()
    })
}

#[test]
fn healthy_in_a_trace_of_everything() -> Result<()> {
    trace("--all")?.silent().map(drop)
}

#[test]
fn healthy_in_a_trace_of_the_client() -> Result<()> {
    trace("--from 10.20.1.2")?.silent().map(drop)
}
