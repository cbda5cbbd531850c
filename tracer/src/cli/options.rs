//! The validated options: from the command line to what will be done, in one step.
//!
//! After this step no option contradicts another.

mod explain;
mod probe;
mod usage;

use std::{path::PathBuf, time::Duration};

use clap::error::ErrorKind;
use clap_complete::Shell;

use self::usage::{refuse_impossible_ends, usage};
pub(crate) use self::{explain::ExplainConfig, probe::ProbeConfig};
pub(crate) use crate::cli::Proto;
use crate::{
    cli::{
        CheckArgs, Cli, ClusterArgs, Command, JoinArgs, OutputArgs, TraceArgs, endpoint::Endpoint,
    },
    cluster::{resolve::Socket, source::ClusterConfig},
    model::Scope,
    sink::{Detail, Format, Formats, PathFormat, Style, Terminal, TraceFormat},
};

/// What will be done.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// What will be done.
    pub(crate) mode: Mode,
}

/// What will be done.
#[derive(Debug, Clone)]
pub(crate) enum Mode {
    /// Trace.
    Trace(Box<TraceConfig>),
    /// Say what this node can show.
    Check(OutputConfig, ClusterConfig),
    /// Judge the NetworkPolicies for one flow.
    Explain(Box<ExplainConfig>),
    /// Walk the layers of one connection.
    Probe(Box<ProbeConfig>),
    /// Join the traces of several nodes.
    Join(JoinConfig),
    /// Print a completion script.
    Completions(Shell),
    /// Print a manual page: of a subcommand, or of the program.
    Man(Option<String>),
}

/// How a trace is to run.
#[derive(Debug, Clone)]
pub(crate) struct TraceConfig {
    /// One end of the connection.
    pub(crate) to: Option<Endpoint>,
    /// The other end.
    pub(crate) from: Option<Endpoint>,
    /// What `to` stands for, if it is not to be looked up.
    pub(crate) to_is: Vec<Socket>,
    /// What `from` stands for, if it is not to be looked up.
    pub(crate) from_is: Vec<Socket>,
    /// The protocol.
    pub(crate) proto: Proto,
    /// Whether there is no filter, by the user's will.
    pub(crate) all: bool,
    /// The network namespaces to look at; empty for the whole node.
    pub(crate) netns: Vec<String>,
    /// Whether to show what healthy traffic drops too.
    pub(crate) noise: bool,
    /// Whether to show the kernel stack.
    pub(crate) stack: bool,
    /// How much to show as text.
    pub(crate) detail: Detail,
    /// What this node is to be called.
    pub(crate) node_name: Option<String>,
    /// Whether to log what whydrop itself does.
    pub(crate) debug: bool,
    /// How long a SYN or a DNS query may go unanswered.
    pub(crate) timeout: Duration,
    /// When to stop.
    pub(crate) duration: Option<Duration>,
    /// After how many drop records to stop; at least 1.
    pub(crate) count: Option<u64>,
    /// How long stdin may be silent before the trace ends.
    pub(crate) heartbeat: Option<Duration>,
    /// The first process of this PID namespace is the node's.
    pub(crate) node_tools: bool,
    /// How long nothing may be reported before a tick is.
    pub(crate) ticks: Option<Duration>,
    /// Bytes of the ring buffer: a power of two; as the memory allows when absent.
    pub(crate) ring_bytes: Option<u32>,
    /// Bytes that maps and tables may take together; as the control group allows when absent.
    pub(crate) memory: Option<u64>,
    /// How many records are shown in a second; `None` for all of them.
    pub(crate) most_records: Option<u64>,
    /// How many answered handshakes a second are reported one by one, which costs processor time; the
    /// others are counted.
    pub(crate) answered_rate: u64,
    /// Where the cluster's objects come from.
    pub(crate) cluster: ClusterConfig,
    /// How to print.
    pub(crate) output: OutputConfig<TraceFormat>,
}

/// The traces that are to be joined.
#[derive(Debug, Clone)]
pub(crate) struct JoinConfig {
    /// A trace of one node each.
    pub(crate) files: Vec<PathBuf>,
    /// How much to show as text.
    pub(crate) detail: Detail,
    /// How to print.
    pub(crate) output: OutputConfig<PathFormat>,
}

impl From<ClusterArgs> for ClusterConfig {
    fn from(args: ClusterArgs) -> Self {
        Self {
            files: args.cluster,
            kubeconfig: args.kubeconfig,
            cri_socket: args.cri_socket,
            no_kube: args.no_kube,
        }
    }
}

/// How to print.
#[derive(Debug, Clone)]
pub(crate) struct OutputConfig<F = Format> {
    /// For people or for programs.
    pub(crate) format: F,
    /// What the terminal (or the lack of one) makes of text.
    pub(crate) style: Style,
}

impl Config {
    /// Makes sense of the command line. `terminal` is where the text will go.
    ///
    /// # Errors
    ///
    /// Wrong usage: `clap::Error::exit` prints it and ends with status 2.
    pub(crate) fn new(cli: Cli, terminal: &Terminal) -> Result<Self, clap::Error> {
        let mode = match cli.command {
            None => Mode::Trace(Box::new(TraceConfig::new(cli.trace, terminal)?)),
            Some(Command::Check(CheckArgs { output, cluster })) => {
                Mode::Check(OutputConfig::new(&output, terminal), cluster.into())
            }
            Some(Command::Explain(args)) => {
                Mode::Explain(Box::new(ExplainConfig::new(*args, terminal)?))
            }
            Some(Command::Probe(args)) => Mode::Probe(Box::new(ProbeConfig::new(*args, terminal)?)),
            Some(Command::Join(args)) => Mode::Join(JoinConfig::new(args, terminal)),
            Some(Command::Completions { shell }) => Mode::Completions(shell),
            Some(Command::Man { subcommand }) => Mode::Man(subcommand),
        };
        Ok(Self { mode })
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// How many answered handshakes a second are looked at where they are not shown: enough to compare those
/// that fail with.
const ANSWERED_UNSHOWN: u64 = 20;

impl TraceConfig {
    fn new(args: TraceArgs, terminal: &Terminal) -> Result<Self, clap::Error> {
        let TraceArgs {
            to,
            from,
            to_is,
            from_is,
            proto,
            all,
            netns,
            noise,
            stack,
            verbose,
            answered,
            debug,
            node_name,
            heartbeat,
            ticks,
            ..
        } = args;
        if to.is_none() && from.is_none() && !all {
            return Err(usage(
                None,
                ErrorKind::MissingRequiredArgument,
                "specify a destination, --from, or --all for everything on this node\n\n  \
                 whydrop 10.244.3.17:443\n  whydrop --from 10.244.1.0/24\n  whydrop --all",
            ));
        }
        let has_ports = proto != Proto::Icmp;
        refuse_impossible_ends(None, to.as_ref(), from.as_ref(), has_ports)?;
        for (option, end, is) in [("--to-is", &to, &to_is), ("--from-is", &from, &from_is)] {
            if let Some(Endpoint::Net { .. } | Endpoint::Port(_)) = end
                && !is.is_empty()
            {
                return Err(usage(
                    None,
                    ErrorKind::ArgumentConflict,
                    &format!("{option} is for a name, such as shop/cart:8080"),
                ));
            }
        }
        if netns.iter().any(String::is_empty) {
            return Err(usage(
                None,
                ErrorKind::InvalidValue,
                "--netns needs a name as `ip netns` lists it, or a path such as /proc/1234/ns/net",
            ));
        }
        let is_narrow = (to.is_some() && from.is_some())
            || to.iter().chain(&from).any(Endpoint::is_port_of_one);
        let detail = Detail {
            verbose,
            answered: answered || is_narrow,
        };
        let most_records = Some(args.max_rate).filter(|rate| *rate > 0);
        // As many as can be shown.
        let answered_rate = match most_records {
            _ if !detail.answered => ANSWERED_UNSHOWN,
            Some(most) => most,
            None => u64::MAX,
        };
        Ok(Self {
            to,
            from,
            to_is,
            from_is,
            proto,
            all,
            netns,
            noise,
            stack,
            detail,
            node_name,
            debug,
            timeout: args.timeout.unwrap_or(DEFAULT_TIMEOUT),
            duration: args.duration,
            count: args.count,
            heartbeat,
            node_tools: args.node_tools,
            ticks,
            ring_bytes: args.ring_size,
            memory: args.memory,
            most_records,
            answered_rate,
            cluster: args.cluster.into(),
            output: OutputConfig::new(&args.output, terminal),
        })
    }

    /// The filter, as it was typed.
    pub(crate) fn scope(&self) -> Scope {
        let end = |endpoint: &Option<Endpoint>| endpoint.as_ref().map(ToString::to_string);
        Scope {
            proto: self.proto.name().to_owned(),
            to: end(&self.to),
            from: end(&self.from),
            netns: self.netns.clone(),
            to_is: self.to_is.iter().map(ToString::to_string).collect(),
            from_is: self.from_is.iter().map(ToString::to_string).collect(),
        }
    }

    /// Whether the filter is a port and no address.
    #[must_use]
    pub(crate) fn is_by_port_alone(&self) -> bool {
        let is_port = |end: &Option<Endpoint>| matches!(end, Some(Endpoint::Port(_)));
        let has_address = |end: &Option<Endpoint>| end.is_some() && !is_port(end);
        (is_port(&self.to) || is_port(&self.from))
            && !has_address(&self.to)
            && !has_address(&self.from)
    }

    /// The filter in force, as a person would say it. `whereabouts` says where a name is.
    #[must_use]
    pub(crate) fn filter_description(
        &self,
        whereabouts: impl Fn(&Endpoint) -> Option<String>,
    ) -> String {
        let proto = match self.proto {
            Proto::Any => None,
            proto => Some(proto.name()),
        };
        let mut text = if self.all {
            proto.map_or("everything".to_owned(), |proto| {
                format!("everything ({proto})")
            })
        } else {
            let end = |endpoint: Option<&Endpoint>| {
                let place = endpoint.and_then(&whereabouts);
                let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
                format!("{}{place}", end(endpoint))
            };
            let ends = format!("{} → {}", end(self.from.as_ref()), end(self.to.as_ref()));
            let proto = proto.map(|proto| format!(" ({proto})")).unwrap_or_default();
            format!("{ends}{proto}, both directions")
        };
        if !self.netns.is_empty() {
            text += &format!(", in netns {}", self.netns.join(", "));
        }
        text
    }
}

/// An endpoint for reading. `fd00::7:443` is an address, and looks like one with a port: brackets
/// and words make plain how it was taken.
fn end(endpoint: Option<&Endpoint>) -> String {
    match endpoint {
        None => "any".to_owned(),
        Some(Endpoint::Port(port)) => format!("any:{port}"),
        Some(Endpoint::Net { net, port: None })
            if net.addr().is_ipv6() && net.prefix_len() == 128 =>
        {
            format!("[{}], any port", net.addr())
        }
        Some(endpoint) => endpoint.to_string(),
    }
}

impl JoinConfig {
    fn new(args: JoinArgs, terminal: &Terminal) -> Self {
        let JoinArgs {
            files,
            verbose,
            answered,
            output,
        } = args;
        Self {
            files,
            detail: Detail { verbose, answered },
            output: OutputConfig::new(&output, terminal),
        }
    }
}

impl<F: Formats> OutputConfig<F> {
    fn new(args: &OutputArgs<F>, terminal: &Terminal) -> Self {
        Self {
            format: args.format,
            style: Style::new(args.color, terminal),
        }
    }
}

#[cfg(test)]
mod tests;
