//! `whydrop explain`: what the NetworkPolicies make of one flow, without tracing.

mod ask;
mod cases;
mod ends;
mod report;
mod service;
mod text;
#[cfg(feature = "trace")]
mod way;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Result, bail};

use self::{cases::cases, report::Report};
use crate::{
    cli::{PolicyProto, options::ExplainConfig},
    cluster::{dump, view::View},
    model::Protocol,
    policy::{Answer, Flow},
    sink::Format,
};

/// Judges the flow and prints the answer to `out`, and hands to `notes` what could not be had. The status
/// shows where a way ends; an answer of the policies is always a success.
///
/// # Errors
///
/// The objects cannot be had, or do not hold a pod that was named; or `out` cannot be written
/// to. A closed pipe is no error.
pub(crate) fn run(
    out: &mut impl Write,
    notes: &mut dyn FnMut(&str),
    config: &ExplainConfig,
) -> Result<ExitCode> {
    #[cfg(feature = "trace")]
    if config.way {
        let (text, status) = way(config)?;
        print(out, &text)?;
        return Ok(status);
    }
    #[cfg(not(feature = "trace"))]
    if config.way {
        bail!(super::NOT_A_NODE);
    }
    let report = if config.cluster.is_empty() {
        let cluster = ask::ask(config.kubeconfig.as_deref(), notes)?;
        explain(cluster.view(), config, Vec::new())?
    } else {
        let loaded = dump::load(&config.cluster)?;
        for note in &loaded.notes {
            notes(note);
        }
        explain(&loaded.view, config, loaded.assumptions)?
    };
    let text = match config.output.format {
        Format::Json => serde_json::to_string(&report)? + "\n",
        Format::Text => text::render(&report, &config.output.style),
    };
    print(out, &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The way of the flow's first packet, as it is to be printed, and the exit status.
#[cfg(feature = "trace")]
fn way(config: &ExplainConfig) -> Result<(String, ExitCode)> {
    let view = match config.cluster.is_empty() {
        true => None,
        false => Some(dump::load(&config.cluster)?.view),
    };
    let protocol = match config.proto {
        PolicyProto::Tcp => Protocol::Tcp,
        PolicyProto::Udp => Protocol::Udp,
        PolicyProto::Sctp => Protocol::Sctp,
        PolicyProto::Icmp => Protocol::Icmp,
        PolicyProto::Any => bail!("a packet has one protocol: give --proto tcp, udp, sctp or icmp"),
    };
    let src = ends::address(view.as_ref(), &config.from)?;
    let dst = ends::address(view.as_ref(), &config.to)?;
    let report = way::walk(
        config.netns.as_deref(),
        (src, config.from.port()),
        (dst, config.to.port()),
        protocol,
    )?;
    let text = match config.output.format {
        Format::Json => serde_json::to_string(&report)? + "\n",
        Format::Text => way::render(&report, &config.output.style),
    };
    Ok((text, report.status()))
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
    let judged: Vec<(Flow<'_>, Answer)> = cases(view, config, &mut warnings)?
        .into_iter()
        .map(|case| {
            let answer = case.judge(view);
            (case.flow, answer)
        })
        .collect();
    Ok(Report::new(view, &judged, warnings))
}

#[cfg(test)]
mod tests;
