//! `whydrop probe`: sends what the plan holds, and traces it.

mod names;
mod outlet;
mod resolv_conf;
mod rows;
mod source;
mod summary;
mod walk;

use std::{cell::RefCell, collections::BTreeSet, io, net::IpAddr, process::ExitCode, rc::Rc};

use anyhow::{Result, bail};
use nix::unistd::Uid;
use tokio::sync::{
    mpsc::{self, UnboundedReceiver},
    oneshot,
};

use self::{names::Known, outlet::ProbeOutlet, walk::Walk};
use super::{
    ending::Signals,
    log,
    setup::{Setup, Trace},
    trace, watchdog,
};
use crate::{
    cli::{
        filter,
        options::{ProbeConfig, Proto, TraceConfig},
    },
    cluster::{
        live::Cluster,
        source::{ClusterConfig, Sources},
        update::Source,
        view::Kind,
    },
    engine::{FilterNames, Input},
    model::{LayerReport, LayerResult, Report},
    net::netns::NetnsRef,
    node::world::World,
    probe::{
        Plan, layers,
        observed::Observed,
        plan::{self, Wishes, command},
        target::Target,
    },
    sink::{Delivery, Printer},
};

/// A layer fails.
const FAILED: u8 = 10;

/// Printed to by the trace and by the walk.
type Output = Rc<RefCell<Printer<io::Stdout>>>;

/// Addresses that the trace is to follow, and who waits for that.
type Follow = (Vec<IpAddr>, oneshot::Sender<()>);

/// Walks the layers. The status is 0 if all pass, and 10 if one fails.
///
/// # Errors
///
/// The probe cannot start (the message says what is missing), or the output cannot be written to.
pub(crate) fn run(config: &ProbeConfig) -> Result<ExitCode> {
    refuse_without_root(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(probe(config))
}

fn refuse_without_root(config: &ProbeConfig) -> Result<()> {
    if Uid::effective().is_root() {
        return Ok(());
    }
    let from = config
        .from
        .as_ref()
        .map_or("ADDRESS".to_owned(), ToString::to_string);
    let to = match &config.to {
        // Names of DNS are not resolved there.
        Target::Host { port, .. } => format!("ADDRESS:{port}"),
        Target::Endpoint(endpoint) => endpoint.to_string(),
    };
    let explain = command::explain(&config.cluster).arg("--from").arg(from);
    bail!(
        "a probe sends from the source's network namespace and traces its packets in the kernel, \
         which needs root; without root, `{}` evaluates the cluster's part: the NetworkPolicies",
        explain.arg("--to").arg(to)
    )
}

async fn probe(config: &ProbeConfig) -> Result<ExitCode> {
    if config.debug {
        log::to_stderr();
    }
    let mut signals = Signals::new()?;
    watchdog::watch()?;
    let mut sources = Sources::start(&config.cluster)?;
    let known = tokio::select! {
        known = names::known(config, &mut sources) => known?,
        () = signals.any() => return Ok(ExitCode::FAILURE),
    };
    let view = known.cluster.view();
    let world = source::world();
    let source = source::find(config, &known.cluster, &world)?;
    let resolver = resolv_conf::read(config, &source, &known.cluster);
    let wishes = Wishes {
        http: config.http.clone(),
        tls: config.tls,
        server_name: config.server_name.clone(),
        cluster: told_by(&config.cluster, &known.cluster),
    };
    let plan = Plan::new(view, source.clone(), config.to.clone(), resolver, wishes);
    if let (true, Err(reason)) = (plan.by_name(), &plan.dns) {
        bail!("{} cannot be resolved: {reason}", config.to);
    }
    if plan.destinations.all.is_empty() && !plan.by_name() {
        bail!("{} has no address to connect to, at a TCP port", config.to);
    }

    let printer = Printer::new(
        io::stdout(),
        config.output.format,
        config.output.style.clone(),
        config.detail,
    );
    let output: Output = Rc::new(RefCell::new(printer));
    let planned = print(&output, &Report::Plan(Box::new(plan.report())))?;
    if config.dry_run || planned == Delivery::ReaderGone {
        return Ok(ExitCode::SUCCESS);
    }
    let observed = Rc::new(Observed::default());
    let outlet = ProbeOutlet::new(Rc::clone(&observed), Rc::clone(&output));
    let mut trace = attach(config, &plan, &world, sources, outlet)?;
    let Known { cluster, updates } = known;
    trace.shell.feed(Input::Cluster(updates))?;
    follow(&mut trace, &plan.addresses(), &source)?;
    trace.announce(&TraceConfig::of_probe(config))?;

    let (followed, to_follow) = mpsc::unbounded_channel();
    let walk = Walk::new(config, plan, cluster, &observed, world, followed);
    let sent = send(
        &mut trace,
        (walk, to_follow),
        &source,
        &output,
        &mut signals,
    );
    let (found, interrupted) = sent.await?;
    let node = trace.shell.engine.node();
    trace.shell.finish(&mut trace.events).await?;
    conclude(&found, interrupted, &observed, node, &output)
}

/// Where the objects come from that are known: files, or else an API server. A better source replaces
/// another's objects.
fn told_by(config: &ClusterConfig, cluster: &Cluster) -> ClusterConfig {
    let policies = cluster.source(Kind::NetworkPolicy);
    let mut config = config.clone();
    match policies.or_else(|| cluster.source(Kind::Pod)) {
        Some(Source::Api) => config.files.clear(),
        _ => config.kubeconfig = None,
    }
    config
}

/// Attaches the trace: it follows the addresses that it is given later, and watches this namespace,
/// the source's, and those that have an address of the destination.
fn attach(
    config: &ProbeConfig,
    plan: &Plan,
    world: &World,
    sources: Sources,
    outlet: ProbeOutlet,
) -> Result<Trace> {
    let trace_config = TraceConfig::of_probe(config);
    let source = &plan.source;
    let holders = plan
        .addresses()
        .into_iter()
        .flat_map(|ip| world.holders_near(source.inode, ip));
    let inodes: BTreeSet<u32> = holders.map(|holder| holder.netns).collect();
    let references = inodes.iter().filter_map(|inode| world.namespace(*inode));
    let mut references: Vec<NetnsRef> = references.map(|one| one.reference.clone()).collect();
    references.push(source.netns.clone());
    let mut netns = vec!["/proc/self/ns/net".to_owned()];
    netns.extend(
        references
            .into_iter()
            .filter_map(|reference| match reference {
                NetnsRef::Path(path) => Some(path.to_str()?.to_owned()),
                NetnsRef::Own | NetnsRef::Inode(_) => None,
            }),
    );
    netns.extend(config.netns.iter().cloned());
    Trace::attach(Setup {
        config: &trace_config,
        filter: filter::of_sets(!source.addresses.is_empty()),
        names: FilterNames::of(None, None, Proto::Any),
        netns: &netns,
        sources,
        outlet: Box::new(outlet),
    })
}

/// Has the trace follow packets between the source and these addresses.
fn follow(trace: &mut Trace, addresses: &[IpAddr], source: &plan::Source) -> Result<()> {
    trace.shell.follow(addresses, &source.addresses)
}

/// Sends everything, and hands the trace what happens meanwhile. Returns the layers, and whether a
/// signal came before the last of them.
async fn send(
    trace: &mut Trace,
    (walk, mut to_follow): (Walk, UnboundedReceiver<Follow>),
    source: &plan::Source,
    output: &Output,
    signals: &mut Signals,
) -> Result<(Vec<LayerReport>, bool)> {
    let (rows, mut reported) = mpsc::unbounded_channel();
    let mut found: Vec<LayerReport> = Vec::new();
    let mut interrupted = false;
    {
        let walk = walk.run(rows);
        tokio::pin!(walk);
        let mut ticks = trace::ticks();
        loop {
            tokio::select! {
                stepped = trace.step(&mut ticks) => stepped?,
                Some((addresses, done)) = to_follow.recv() => {
                    follow(trace, &addresses, source)?;
                    // The walk may have ended.
                    let _ = done.send(());
                }
                Some(layer) = reported.recv() => {
                    interrupted |= show(output, layer, &mut found)? == Delivery::ReaderGone;
                }
                walked = &mut walk => {
                    walked?;
                    break;
                }
                () = signals.any() => interrupted = true,
            }
            interrupted |= trace.shell.ended;
            if interrupted {
                break;
            }
        }
        // Here the walk is dropped, and with it all of its sockets.
    }
    let mut rest = Vec::new();
    while let Ok(layer) = reported.try_recv() {
        rest.push(layer);
    }
    if interrupted {
        let reason = "the probe was interrupted";
        let is_done = |layer| found.iter().chain(&rest).any(|one| one.layer == layer);
        let open = rows::ORDER.into_iter().filter(|layer| !is_done(*layer));
        let open: Vec<_> = open
            .map(|layer| layers::without(layer, LayerResult::Skipped, "", reason))
            .collect();
        rest.extend(open);
    }
    for layer in rest {
        if show(output, layer, &mut found)? == Delivery::ReaderGone {
            break;
        }
    }
    Ok((found, interrupted))
}

fn show(output: &Output, layer: LayerReport, found: &mut Vec<LayerReport>) -> Result<Delivery> {
    let shown = print(output, &Report::Layer(Box::new(layer.clone())))?;
    found.push(layer);
    Ok(shown)
}

fn conclude(
    found: &[LayerReport],
    interrupted: bool,
    observed: &Observed,
    node: Option<String>,
    output: &Output,
) -> Result<ExitCode> {
    let fails = found
        .iter()
        .any(|layer| layer.result == LayerResult::Failed);
    let summary = summary::of(found, observed, node);
    // Whether it is read or not, the status is the same.
    let _delivery = print(output, &Report::Summary(Box::new(summary)))?;
    Ok(match (fails, interrupted) {
        (true, _) => ExitCode::from(FAILED),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

fn print(output: &Output, report: &Report) -> Result<Delivery> {
    let mut printer = output.borrow_mut();
    Ok(watchdog::watched(|| printer.print(report))?)
}
