//! What TCP loses by being watched.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    Benchmark, Effort,
    figure::{Figure, Goal, Samples, Unit},
};
use crate::{
    lab::{Family, topology::RouterLab},
    tracer::{Tracer, watching},
};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "throughput",
    title: "TCP through a watched router",
    method: "A client connects to a server behind a router and reads to the end, one connection \
             after the other; or sends as fast as it can through one connection. Each slice \
             with whydrop at the router comes between two without it; a figure is the slice's rate \
             relative to the mean of those two.",
    run,
};

/// Where the server answers and closes.
const CONNECT_PORT: u16 = 8081;
/// Where the server reads what comes.
const BULK_PORT: u16 = 8082;
/// The case that a node is in most of the time.
const ELSEWHERE: &str = "with a filter on something else";
/// Bytes of one write.
const CHUNK: usize = 256 << 10;

/// Connections, or bytes, a second.
#[derive(Debug, Clone, Copy)]
struct Rates {
    connections: f64,
    bytes: f64,
}

struct Case {
    what: &'static str,
    arguments: Vec<String>,
    has_goal: bool,
    connections: Samples,
    bytes: Samples,
}

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let lab = RouterLab::build()?;
    let address = |port| lab.server.socket(Family::V4, port);
    let _closer = Server::start(&lab, address(CONNECT_PORT), |_| {})?;
    let _sink = Server::start(&lab, address(BULK_PORT), swallow)?;
    let case = |what, arguments: &[&str], has_goal| Case {
        what,
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        has_goal,
        connections: Samples::default(),
        bytes: Samples::default(),
    };
    let server = lab.server.address(Family::V4).to_string();
    let mut cases = [
        case(ELSEWHERE, &["198.51.100.1:443"], true),
        case("with a filter on just this server", &[&server], true),
        case("with --all", &["--all"], false),
    ];
    let slice = Duration::from_millis(if effort.quick { 200 } else { 700 });
    let mut without = rates(&lab, slice)?;
    let mut absolute = (Samples::default(), Samples::default());
    for _ in 0..effort.rounds(11) {
        for case in &mut cases {
            let mut arguments = watching(&[&lab.router]);
            arguments.extend(case.arguments.iter().cloned());
            let tracer = Tracer::start(arguments)?;
            let with = rates(&lab, slice)?;
            tracer.stop()?;
            let after = rates(&lab, slice)?;
            let mean = |before: f64, after: f64| (before + after) / 2.0;
            case.connections
                .push(with.connections / mean(without.connections, after.connections));
            case.bytes
                .push(with.bytes / mean(without.bytes, after.bytes));
            absolute.0.push(after.connections);
            absolute.1.push(after.bytes * 8.0 / 1e9);
            without = after;
        }
    }
    let mut figures = vec![
        Figure::new("connections without whydrop", Unit::PerSecond, absolute.0),
        Figure::new("one stream without whydrop", Unit::Gigabits, absolute.1),
    ];
    for case in cases {
        let of = |what: &str, samples| {
            let figure = Figure::new(format!("{what}, {}", case.what), Unit::Percent, samples);
            if case.has_goal {
                figure.goal(Goal::AtLeast(0.98))
            } else {
                figure
            }
        };
        let connections = of("connections", case.connections);
        figures.push(if case.what == ELSEWHERE {
            connections.headline(
                "TCP connections per second through a watched router that match another filter, \
                 relative to the rate without whydrop",
            )
        } else {
            connections
        });
        figures.push(of("one stream", case.bytes));
    }
    Ok(figures)
}

fn rates(lab: &RouterLab, slice: Duration) -> Result<Rates> {
    lab.client.enter(|| {
        let target = lab.server.socket(Family::V4, CONNECT_PORT);
        let start = Instant::now();
        let mut connections = 0_u32;
        while start.elapsed() < slice {
            let mut connection = TcpStream::connect(target).context("cannot connect")?;
            connection.read_to_end(&mut Vec::new())?;
            connections += 1;
        }
        let connections = f64::from(connections) / start.elapsed().as_secs_f64();

        let mut connection = TcpStream::connect(lab.server.socket(Family::V4, BULK_PORT))?;
        let chunk = vec![0x5a; CHUNK];
        let start = Instant::now();
        let mut bytes = 0;
        while start.elapsed() < slice {
            connection.write_all(&chunk)?;
            bytes += chunk.len();
        }
        let bytes = bytes as f64 / start.elapsed().as_secs_f64();
        Ok(Rates { connections, bytes })
    })
}

fn swallow(mut connection: TcpStream) {
    let mut buffer = vec![0; CHUNK];
    // It ends when the client does.
    while let Ok(1..) = connection.read(&mut buffer) {}
}

/// A server without anything to slow it down.
struct Server {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    /// To wake up the acceptor from, whatever becomes of the lab.
    listener: TcpListener,
}

impl Server {
    fn start(lab: &RouterLab, address: SocketAddr, serve: fn(TcpStream)) -> Result<Self> {
        let listener = lab
            .server
            .enter(|| TcpListener::bind(address))
            .with_context(|| format!("cannot listen on {address}"))?;
        let ended = Arc::<AtomicBool>::default();
        let acceptor = thread::spawn({
            let (listener, ended) = (listener.try_clone()?, Arc::clone(&ended));
            move || {
                while let Ok((connection, _)) = listener.accept() {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    serve(connection);
                }
            }
        });
        Ok(Self {
            address,
            ended,
            acceptor: Some(acceptor),
            listener,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes up `accept`, which fails then. Nothing to be done if this does.
        let socket = socket2::SockRef::from(&self.listener);
        let _ = socket.shutdown(std::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            eprintln!("the server at {} has panicked", self.address);
        }
    }
}
