//! `whydrop explain`: what the NetworkPolicies make of one flow, without tracing.

mod ask;
mod report;
mod service;
mod text;
mod way;

use std::io::{self, Write};

use anyhow::{Result, anyhow, bail};

use self::report::Report;
use crate::{
    cli::{
        endpoint::Endpoint,
        options::{ExplainConfig, Proto},
    },
    cluster::{
        dump,
        objects::{ObjectName, Pod},
        resolve::no_such,
        view::{Kind, View},
    },
    model,
    policy::{Answer, Flow, Party, Peer, Protocol, evaluate},
    sink::Format,
};

/// Judges the flow and prints the answer to `out`, and what could not be had to `notes`.
///
/// # Errors
///
/// The objects cannot be had, or do not hold a pod that was named; or `out` cannot be written
/// to. A closed pipe is no error.
pub fn run(out: &mut impl Write, notes: &mut impl Write, config: &ExplainConfig) -> Result<()> {
    if config.way {
        return print(out, &way(config)?);
    }
    let report = if config.cluster.is_empty() {
        let cluster = ask::ask(config.kubeconfig.as_deref(), notes)?;
        explain(cluster.view(), config, Vec::new())?
    } else {
        let loaded = dump::load(&config.cluster)?;
        for note in &loaded.notes {
            writeln!(notes, "whydrop: {note}").ok();
        }
        explain(&loaded.view, config, loaded.assumptions)?
    };
    let text = match config.output.format {
        Format::Json => serde_json::to_string(&report)? + "\n",
        Format::Text => text::render(&report, &config.output.style),
    };
    print(out, &text)
}

/// The way of the flow's first packet, as it is to be printed.
fn way(config: &ExplainConfig) -> Result<String> {
    let view = match config.cluster.is_empty() {
        true => None,
        false => Some(dump::load(&config.cluster)?.view),
    };
    let address = |end: &Endpoint| match (end, &view) {
        (Endpoint::Net { net, .. }, _) => Ok(net.addr()),
        (
            Endpoint::Pod {
                namespace, name, ..
            },
            Some(view),
        ) => {
            let pod = pod(view, &ObjectName::new(namespace, name))?;
            let address = pod.ips.first().copied();
            address.ok_or_else(|| anyhow!("{} has no address", pod.id))
        }
        _ => bail!("{end}: give its address, or the cluster's objects with --cluster"),
    };
    let proto = match config.proto {
        Proto::Tcp => model::Protocol::Tcp,
        Proto::Udp => model::Protocol::Udp,
        Proto::Icmp => model::Protocol::Icmp,
        Proto::Any => bail!("a packet has one protocol: give --proto tcp, udp or icmp"),
    };
    let (src, dst) = (address(&config.from)?, address(&config.to)?);
    let report = way::walk(src, dst, config.to.port(), proto)?;
    Ok(match config.output.format {
        Format::Json => serde_json::to_string(&report)? + "\n",
        Format::Text => way::render(&report, &config.output.style),
    })
}

/// Prints it; a closed pipe is no error.
fn print(out: &mut impl Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Judges the flow.
fn explain(view: &View, config: &ExplainConfig, mut warnings: Vec<String>) -> Result<Report> {
    let src = peer(view, &config.from, &mut warnings)?;
    let dst = peer(view, &config.to, &mut warnings)?;
    // The question for every protocol has one answer only where all agree.
    let protocols: &[Protocol] = match config.proto {
        Proto::Tcp => &[Protocol::Tcp],
        Proto::Udp => &[Protocol::Udp],
        Proto::Icmp => &[Protocol::Icmp],
        Proto::Any => &[Protocol::Tcp, Protocol::Udp],
    };
    let mut flows: Vec<Flow<'_>> = Vec::new();
    for protocol in protocols {
        let flow = Flow {
            src: src.clone(),
            dst: dst.clone(),
            protocol: *protocol,
            port: config.to.port(),
        };
        match &dst.party {
            Party::Service(service) => {
                flows.extend(service::behind(view, service, &flow, &mut warnings));
            }
            _ => flows.push(flow),
        }
    }
    let judged: Vec<(Flow<'_>, Answer)> = flows
        .into_iter()
        .map(|flow| {
            let answer = evaluate(view, &flow);
            (flow, answer)
        })
        .collect();
    Ok(Report::new(view, &judged, warnings))
}

fn peer<'v>(view: &'v View, end: &Endpoint, warnings: &mut Vec<String>) -> Result<Peer<'v>> {
    match end {
        Endpoint::Net { net, .. } => Ok(Peer::at(view, net.addr())),
        Endpoint::Pod {
            namespace, name, ..
        } => {
            let id = ObjectName::new(namespace, name);
            if view.is_unreadable(Kind::Pod, &id) {
                return Ok(Peer::unreadable(&id));
            }
            let pod = pod(view, &id)?;
            if pod.ended {
                warnings.push(format!("{} has ended and has no address any more", pod.id));
            }
            Ok(Peer::pod(pod))
        }
        // The options are validated.
        Endpoint::Port(_) | Endpoint::Service { .. } => {
            bail!("{end}: policies judge one address or pod")
        }
    }
}

fn pod<'v>(view: &'v View, id: &ObjectName) -> Result<&'v Pod> {
    if let Some(pod) = view.pod(id) {
        return Ok(pod);
    }
    if !view.knows(Kind::Pod) {
        bail!("pod {id} is not known: neither is any other pod");
    }
    bail!(no_such(view, Kind::Pod, id))
}

#[cfg(test)]
mod tests;
