//! How long the first answers take, and what the program weighs.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process,
    time::Instant,
};

use anyhow::Result;

use super::{
    Benchmark, Effort,
    figure::{Figure, Samples, Unit},
    process::{peak_memory, resident_memory},
};
use crate::{
    binary,
    fault::{Chain, nft},
    lab::{Family, topology::RouterLab},
    record::Flow,
    tracer::{Tracer, watching},
    traffic::TcpAttempt,
};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "start",
    title: "From start to verdict",
    method: "A SYN is dropped by an nft rule on a router. Both times count from the `connect` of the \
             client; an unanswered attempt is reported after `--timeout`, here one second.",
    run,
};

const PORT: u16 = 9;

/// A port that takes connections and never says a word, as the API server.
struct SilentApi {
    _port: TcpListener,
    kubeconfig: PathBuf,
}

impl SilentApi {
    fn start() -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = port.local_addr()?;
        let kubeconfig = env::temp_dir().join(format!("whydrop-bench-{}.conf", process::id()));
        fs::write(
            &kubeconfig,
            format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
                 contexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]\n\
                 clusters: [{{name: lab, cluster: {{server: 'https://{address}'}}}}]\n\
                 users: [{{name: lab, user: {{token: none}}}}]\n"
            ),
        )?;
        Ok(Self {
            _port: port,
            kubeconfig,
        })
    }

    fn option(&self) -> [String; 2] {
        [
            "--kubeconfig".to_owned(),
            self.kubeconfig.display().to_string(),
        ]
    }
}

impl Drop for SilentApi {
    fn drop(&mut self) {
        // It is in a directory for temporary files.
        let _ = fs::remove_file(&self.kubeconfig);
    }
}

/// Connects, and waits for the record of the dropped SYN.
fn dropped(lab: &RouterLab, target: SocketAddr, tracer: &mut Tracer) -> Result<(TcpAttempt, Flow)> {
    let attempt = TcpAttempt::start(&lab.client, None, target)?;
    let flow = Flow::from(attempt.flow());
    tracer.wait_for("the drop", |record| {
        record.as_drop().is_some_and(|drop| drop.flow == flow)
    })?;
    Ok((attempt, flow))
}

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let lab = RouterLab::build()?;
    nft(
        &lab.router,
        Chain::inet("forward"),
        &format!("tcp dport {PORT} drop"),
    )?;
    let target = lab.server.socket(Family::V4, PORT);
    let silent = SilentApi::start()?;
    let [mut ready, mut event, mut verdict, mut peak, mut later] = [const { Samples::new() }; 5];
    let [mut silent_ready, mut silent_event] = [const { Samples::new() }; 2];
    for _ in 0..effort.rounds(9) {
        let start = Instant::now();
        let mut arguments = watching(&[&lab.router]);
        arguments.push(target.to_string());
        let mut tracer = Tracer::start(arguments)?;
        ready.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let (_attempt, flow) = dropped(&lab, target, &mut tracer)?;
        event.push(start.elapsed().as_secs_f64() * 1e3);
        tracer.wait_for("the attempt's outcome", |record| {
            let attempt = record.as_attempt();
            attempt.is_some_and(|attempt| attempt.flow == flow && attempt.verdict.is_some())
        })?;
        verdict.push(start.elapsed().as_secs_f64() * 1e3);
        peak.push(peak_memory(tracer.pid())?);
        later.push(resident_memory(tracer.pid())?);
        tracer.stop()?;

        let start = Instant::now();
        let mut arguments = watching(&[&lab.router]);
        arguments.extend(silent.option());
        arguments.push(target.to_string());
        let mut tracer = Tracer::start_with_cluster(arguments)?;
        silent_ready.push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let _attempt = dropped(&lab, target, &mut tracer)?;
        silent_event.push(start.elapsed().as_secs_f64() * 1e3);
        tracer.stop()?;
    }
    let binary = fs::metadata(binary())?.len() as f64 / f64::from(1 << 20);
    let (by_ready, by_event) = (silent_ready.by(&ready), silent_event.by(&event));
    Ok(vec![
        Figure::new(
            "start until everything is attached",
            Unit::Milliseconds,
            ready,
        ),
        Figure::new(
            "a drop until its record with the verdict",
            Unit::Milliseconds,
            event,
        )
        .headline("from a drop to its record with the verdict"),
        Figure::new(
            "an unanswered SYN until its verdict",
            Unit::Milliseconds,
            verdict,
        ),
        Figure::new(
            "start with an API server that never answers, relative to start with none",
            Unit::Times,
            by_ready,
        ),
        Figure::new(
            "a drop until its record with such a server, relative to without",
            Unit::Times,
            by_event,
        ),
        Figure::new("peak memory", Unit::Mebibytes, peak),
        Figure::new("memory afterwards", Unit::Mebibytes, later),
        Figure::new("size of the binary", Unit::Mebibytes, binary),
    ])
}
