//! `kubectl whydrop`: traces on the nodes of both ends of a connection, from a laptop, joined.
//!
//! - [`plan`], [`placed`]: what to trace, and where; [`coverage`]: what is new since; [`nodes`], [`permissions`]:
//!   whether that can be done
//! - [`manifest`]: what is created; [`stream`]: the same without an image; [`leftovers`]: what is deleted
//! - [`pods`], [`follow`], [`heartbeat`], [`upload`]: a trace on its node, from here
//! - [`objects`], [`names`], [`traces`]: what comes in, with names
//!
//! Nothing is created that was not announced, and whatever was created is deleted at the end. All that
//! the cluster says may be hostile.

mod coverage;
#[cfg(test)]
mod fixtures;
mod follow;
mod heartbeat;
mod leftovers;
mod manifest;
mod names;
mod nodes;
mod objects;
mod permissions;
mod placed;
mod plan;
mod pods;
mod run;
mod stream;
mod traces;
mod upload;

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use self::{manifest::Session, nodes::Node, objects::Objects, plan::Plan, run::Run};
use super::{
    ending::Signals,
    join::{heading, name_apart},
};
use crate::{
    cli::kubectl::{KubectlConfig, endpoint},
    cluster::source::{
        ClusterConfig,
        api::{
            access::{self, Access},
            client::Client,
        },
    },
    join::{Trace, join},
    model::Report,
    sink::{self, Delivery, Printer, Terminal},
};

/// The name that kubectl looks for.
const NAME: &str = "kubectl-whydrop";
/// A namespace of this name is used by itself.
const NAMESPACE: &str = "whydrop";

/// Whether the program was started as kubectl's plugin.
pub(super) fn is_asked_for(program: Option<&OsStr>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_stem());
    name.is_some_and(|name| name == NAME || name == "kubectl_whydrop")
}

/// The whole program under this name.
pub(super) fn main() -> ExitCode {
    let config = match KubectlConfig::parse(env::args_os(), &Terminal::stdout()) {
        Ok(config) => config,
        Err(usage) => return sink::usage(&usage),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(&config));
            // A name that is still being resolved is not waited for.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(error.into()),
    };
    access::kill_plugins();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::failed(&error),
    }
}

/// What a run works with.
struct Prepared {
    client: Arc<Client>,
    session: Session,
    plan: Plan,
    nodes: Vec<Node>,
    /// A Job for each node.
    jobs: Vec<Value>,
    objects: Objects,
    /// Jobs of an earlier run.
    leftovers: Vec<String>,
}

async fn run(config: &KubectlConfig) -> Result<()> {
    let prepared = prepare(config).await?;
    if config.dry_run {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": prepared.jobs});
        return print(&(serde_json::to_string_pretty(&list)? + "\n"));
    }
    announce(config, &prepared);
    let without = "--yes creates them without asking, --dry-run prints them";
    if !config.yes && !consent("create them?", without)? {
        bail!("nothing was created");
    }
    for job in &prepared.leftovers {
        if let Err(error) = leftovers::delete(&prepared.client, &prepared.session, job).await {
            sink::note(&format!("cannot delete Job {job}: {error}"));
        }
    }
    let mut signals = Signals::new()?;
    let mut run = Run::new(config, prepared);
    let traced = run.trace(&mut signals).await;
    // Also where that has failed half-way.
    run.clean_up(&mut signals).await;
    traced?;
    report(config, run)
}

/// Finds out what is to be done and whether it can be; creates nothing.
async fn prepare(config: &KubectlConfig) -> Result<Prepared> {
    let access = access(config)?;
    let context_namespace = access.namespace().to_owned();
    let namespace = config
        .namespace
        .clone()
        .unwrap_or_else(|| context_namespace.clone());
    let end = |text: &Option<String>| {
        let end = text.as_ref().map(|text| endpoint(text, &namespace));
        end.transpose()
    };
    let (to, from) = (end(&config.to)?, end(&config.from)?);
    let client = Client::open(access.clone()).await;
    let client = Arc::new(client.map_err(anyhow::Error::msg)?);
    let objects = Objects::list(access).await?;
    let view = objects.cluster.view();
    let plan = Plan::new(view, (to, from), config.proto, &config.nodes)?;
    let names: Vec<String> = plan.nodes.keys().cloned().collect();
    let nodes = nodes::look(&client, &names).await?;
    let job_namespace = match &config.job_namespace {
        Some(namespace) => namespace.clone(),
        None if view.has_namespace(NAMESPACE) => NAMESPACE.to_owned(),
        None => context_namespace,
    };
    if !nodes::is_proper(&job_namespace) {
        bail!("the Jobs' namespace {job_namespace:?} is not the name of one");
    }
    if config.dry_run {
        let session = Session::new(job_namespace, true);
        let jobs = jobs(config, &session, &plan, &nodes);
        return Ok(Prepared {
            client,
            session,
            plan,
            nodes,
            jobs,
            objects,
            leftovers: Vec::new(),
        });
    }
    permissions::check(&client, &job_namespace).await?;
    let attach = permissions::may_attach(&client, &job_namespace).await?;
    let session = Session::new(job_namespace, attach);
    let jobs = jobs(config, &session, &plan, &nodes);
    for job in &jobs {
        permissions::dry_run(&client, &session, job).await?;
    }
    let leftovers = leftovers::find(&client, &session).await.unwrap_or_default();
    Ok(Prepared {
        client,
        session,
        plan,
        nodes,
        jobs,
        objects,
        leftovers,
    })
}

fn jobs(config: &KubectlConfig, session: &Session, plan: &Plan, nodes: &[Node]) -> Vec<Value> {
    let nodes = nodes.iter().enumerate();
    nodes
        .map(|(index, node)| session.job(config, plan, node, index))
        .collect()
}

fn access(config: &KubectlConfig) -> Result<Access> {
    let places = access::places(&ClusterConfig {
        kubeconfig: config.kubeconfig.clone(),
        ..ClusterConfig::default()
    });
    let Some(place) = places.into_iter().next() else {
        bail!("no kubeconfig was found: specify one with --kubeconfig");
    };
    Ok(place.access_as(config.context.as_deref())?)
}

/// Says what will be created, and what it may do there.
fn announce(config: &KubectlConfig, prepared: &Prepared) {
    let Prepared {
        session,
        plan,
        nodes,
        leftovers,
        ..
    } = prepared;
    let mut lines = vec![format!(
        "this creates in the namespace {}, with the image {}:",
        session.namespace, config.image
    )];
    for (index, node) in nodes.iter().enumerate() {
        let reasons: Vec<&str> = plan.nodes[&node.name].iter().map(String::as_str).collect();
        lines.push(format!(
            "  Job {} on node {} ({})",
            session.job_name(index),
            node.name,
            shortened(&reasons)
        ));
    }
    lines.push(
        "each in the host's network and process namespaces, not privileged, with the capabilities BPF, \
         PERFMON, NET_ADMIN, SYS_ADMIN, SYS_PTRACE, SYS_CHROOT, SYSLOG and SYS_RESOURCE, without API access and \
         without host paths; all are deleted at the end"
            .to_owned(),
    );
    lines.extend(
        leftovers
            .iter()
            .map(|job| format!("this deletes Job {job}, which an earlier run has left")),
    );
    lines.extend(plan.notes.iter().cloned());
    lines.extend(nodes.iter().filter_map(|node| node.not_ready.clone()));
    if !session.attach {
        lines.push(
            "you may not attach to pods (`create pods/attach`): if this program is killed, the traces go \
             on up to their Jobs' deadline"
                .to_owned(),
        );
    }
    for line in lines {
        sink::note(&line);
    }
}

/// A few of them, and how many more there are.
fn shortened(reasons: &[&str]) -> String {
    const SHOWN: usize = 3;
    let more = reasons.len().saturating_sub(SHOWN);
    let shown = reasons[..reasons.len() - more].join("; ");
    match more {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// Asks a question. `without` says what can be done where it cannot be asked.
fn consent(question: &str, without: &str) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("no terminal to ask on: {without}");
    }
    let mut stderr = io::stderr();
    write!(stderr, "whydrop: {question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Prints the paths, and what each node's trace comes to.
fn report(config: &KubectlConfig, run: Run<'_>) -> Result<()> {
    let mut summaries = Vec::new();
    let mut traces: Vec<Trace> = Vec::new();
    for node in run.into_traces() {
        summaries.push(node.in_words());
        traces.extend(node.trace);
    }
    if traces.is_empty() {
        bail!("no node was traced");
    }
    name_apart(&mut traces);
    let paths = join(&traces);
    for sentence in traces.iter().filter_map(Trace::without_path) {
        sink::note(&sentence);
    }
    let mut printer = Printer::new(
        io::stdout(),
        config.format,
        config.style.clone(),
        config.detail,
    );
    let mut headings = vec![heading(&traces, &paths)];
    headings.extend(summaries);
    for heading in headings {
        if printer.heading(&heading)? == Delivery::ReaderGone {
            return Ok(());
        }
    }
    for path in paths {
        if printer.print(&Report::Path(Box::new(path)))? == Delivery::ReaderGone {
            break;
        }
    }
    Ok(())
}

/// Prints it; a closed pipe is no error.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
