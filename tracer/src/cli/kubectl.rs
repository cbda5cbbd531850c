//! The command line of `kubectl whydrop`: the same program under another name.

use std::{path::PathBuf, time::Duration};

use clap::{CommandFactory as _, Parser, error::ErrorKind};

use super::{
    OutputArgs, Proto,
    endpoint::{Endpoint, EndpointError},
    values::{at_least_one, duration, ring_size},
};
use crate::{
    cluster::workload::WorkloadKind,
    sink::{Detail, PathFormat, Style, Terminal},
};

/// Where the image comes from that a build names itself.
const IMAGE: &str = match option_env!("WHYDROP_IMAGE") {
    Some(image) => image,
    None => concat!("localhost/whydrop:v", env!("CARGO_PKG_VERSION")),
};

const EXAMPLES: &str = "\
Examples:
  kubectl whydrop cart:8080                       to a pod, from anywhere
  kubectl whydrop svc/cart:80 --from deploy/web   from a workload to a Service
  kubectl whydrop shop/cart:8080 --from shop/web --duration 30s --yes -o json
  kubectl whydrop svc/cart:80 --dry-run           print what would be created

TO and --from are pods (NAME or NAMESPACE/NAME), svc/NAME, deploy/NAME, sts/NAME, ds/NAME (with the \
namespace between them: svc/NAMESPACE/NAME), addresses or prefixes, each with or without :PORT.

One Job per node traces there, read-only, and needs no access to the API. It is removed at the end. If \
this program is killed or loses its connection, each trace ends by itself after 30 s (or, where \
`pods/attach` is not allowed, at the Job's deadline), and the cluster deletes its Job.

Exit status: 0 success (including Ctrl-C), 1 failure, 2 usage error.";

/// Who dropped my packet? Traces a connection on the nodes of both of its ends, and joins what they saw
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-whydrop",
    bin_name = "kubectl whydrop",
    version,
    after_help = EXAMPLES,
)]
struct KubectlCli {
    /// Destination to trace
    #[arg(value_name = "TO")]
    to: Option<String>,

    /// Peer to restrict to [default: any]
    #[arg(long, value_name = "ENDPOINT", help_heading = "Filter")]
    from: Option<String>,

    /// Protocol
    #[arg(
        long,
        value_name = "tcp|udp|icmp|any",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Filter"
    )]
    proto: Proto,

    /// Trace every connection on the nodes of --node, without a filter
    #[arg(long, conflicts_with_all = ["to", "from"], requires = "node", help_heading = "Filter")]
    all: bool,

    /// Also show drops that healthy traffic causes
    #[arg(long, help_heading = "Filter")]
    noise: bool,

    /// Report a SYN or a DNS query as unanswered after this time, such as 500ms [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Time")]
    timeout: Option<Duration>,

    /// Stop after this time, such as 30s or 2m [default: after Ctrl-C, at the latest after an hour]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Time")]
    duration: Option<Duration>,

    /// Stop each trace after N drop records [default: never]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Time")]
    count: Option<u64>,

    /// Namespace of names without one [default: that of the context]
    #[arg(short, long, value_name = "NAME", help_heading = "Cluster")]
    namespace: Option<String>,

    /// Kubeconfig to use [default: as kubectl]
    #[arg(long, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", help_heading = "Cluster")]
    context: Option<String>,

    /// Node to trace on (repeatable) [default: those of the source and of all endpoints, at most 8]
    #[arg(long, value_name = "NAME", help_heading = "Jobs")]
    node: Vec<String>,

    /// Namespace of the Jobs [default: `whydrop` if there is one, or that of the context]
    #[arg(long, value_name = "NAME", help_heading = "Jobs")]
    job_namespace: Option<String>,

    /// Image with whydrop
    #[arg(long, value_name = "IMAGE", default_value = IMAGE, help_heading = "Jobs")]
    image: String,

    /// Secret of the Jobs' namespace with which the image is pulled
    #[arg(long, value_name = "NAME", help_heading = "Jobs")]
    image_pull_secret: Option<String>,

    /// Image with a shell that the nodes have: where --image cannot be pulled, whydrop is streamed into a pod
    /// of it [default: up to four that the node reports, the likeliest first]
    #[arg(long, value_name = "IMAGE", help_heading = "Jobs")]
    stream_into: Option<String>,

    /// Static whydrop, built for the nodes' architecture, to stream there [default: this program, if it is
    /// such a one]
    #[arg(long, value_name = "FILE", help_heading = "Jobs")]
    program: Option<PathBuf>,

    /// Create the Jobs without asking
    #[arg(short, long, help_heading = "Jobs")]
    yes: bool,

    /// Print the Jobs as JSON, and create none
    #[arg(long, help_heading = "Jobs")]
    dry_run: bool,

    /// Ring buffer size; increase it if events are lost [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = ring_size, help_heading = "Jobs")]
    ring_size: Option<u32>,

    /// Show all evidence for each verdict, not only the most relevant
    #[arg(short, long, help_heading = "Output")]
    verbose: bool,

    /// Also show attempts that were answered
    #[arg(long, help_heading = "Output")]
    answered: bool,

    /// How to print.
    #[command(flatten)]
    output: OutputArgs<PathFormat>,
}

/// What to trace, and how.
#[derive(Debug, Clone)]
pub(crate) struct KubectlConfig {
    pub(crate) to: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) proto: Proto,
    pub(crate) all: bool,
    pub(crate) noise: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) duration: Option<Duration>,
    pub(crate) count: Option<u64>,
    pub(crate) ring_size: Option<u32>,
    pub(crate) namespace: Option<String>,
    pub(crate) kubeconfig: Option<PathBuf>,
    pub(crate) context: Option<String>,
    pub(crate) nodes: Vec<String>,
    pub(crate) job_namespace: Option<String>,
    pub(crate) image: String,
    pub(crate) image_pull_secret: Option<String>,
    pub(crate) stream_into: Option<String>,
    pub(crate) program: Option<PathBuf>,
    pub(crate) yes: bool,
    pub(crate) dry_run: bool,
    pub(crate) detail: Detail,
    pub(crate) format: PathFormat,
    pub(crate) style: Style,
}

impl KubectlConfig {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// Wrong usage: `clap::Error::exit` prints it and ends with status 2.
    pub(crate) fn parse(
        arguments: impl Iterator<Item = std::ffi::OsString>,
        terminal: &Terminal,
    ) -> Result<Self, clap::Error> {
        let cli = KubectlCli::try_parse_from(arguments)?;
        if cli.to.is_none() && cli.from.is_none() && !cli.all {
            return Err(usage(
                ErrorKind::MissingRequiredArgument,
                "specify a destination or --from\n\n  kubectl whydrop svc/cart:80 --from deploy/web",
            ));
        }
        // Names are resolved in a namespace that only the kubeconfig has; typing errors need none.
        for end in [&cli.to, &cli.from].into_iter().flatten() {
            endpoint(end, "default")
                .map_err(|error| usage(ErrorKind::ValueValidation, &format!("{end}: {error}")))?;
        }
        Ok(Self {
            to: cli.to,
            from: cli.from,
            proto: cli.proto,
            all: cli.all,
            noise: cli.noise,
            timeout: cli.timeout,
            duration: cli.duration,
            count: cli.count,
            ring_size: cli.ring_size,
            namespace: cli.namespace,
            kubeconfig: cli.kubeconfig,
            context: cli.context,
            nodes: cli.node,
            job_namespace: cli.job_namespace,
            image: cli.image,
            image_pull_secret: cli.image_pull_secret,
            stream_into: cli.stream_into,
            program: cli.program,
            yes: cli.yes,
            dry_run: cli.dry_run,
            detail: Detail {
                verbose: cli.verbose,
                answered: cli.answered,
            },
            format: cli.output.format,
            style: Style::new(cli.output.color, terminal),
        })
    }
}

fn usage(kind: ErrorKind, message: &str) -> clap::Error {
    KubectlCli::command().error(kind, message)
}

/// An endpoint as kubectl's users write it: names may be without a namespace.
///
/// # Errors
///
/// It cannot be read as an endpoint.
pub(crate) fn endpoint(text: &str, namespace: &str) -> Result<Endpoint, EndpointError> {
    let parts: Vec<&str> = text.split('/').collect();
    let is_name = |part: &str| {
        part.bytes()
            .next()
            .is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
    };
    let whole = match parts.as_slice() {
        [name] if is_name(name) && name.parse::<Endpoint>().is_err() && !is_address_like(name) => {
            format!("{namespace}/{name}")
        }
        ["pod" | "pods" | "po", name] => format!("{namespace}/{name}"),
        ["pod" | "pods" | "po", namespace, name] => format!("{namespace}/{name}"),
        ["svc" | "service" | "services", name] => format!("svc/{namespace}/{name}"),
        ["service" | "services", namespace, name] => format!("svc/{namespace}/{name}"),
        [kind, name] if WorkloadKind::from_resource(kind).is_some() => {
            format!("{kind}/{namespace}/{name}")
        }
        _ => text.to_owned(),
    };
    whole.parse()
}

/// Whether a word is rather a mistyped address than a name.
fn is_address_like(text: &str) -> bool {
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    let is_dotted = host.contains('.') && host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_dotted || text.matches(':').count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        KubectlCli::command().debug_assert();
    }

    #[test]
    fn names_are_as_for_kubectl() {
        for (typed, taken) in [
            ("cart", "shop/cart"),
            ("cart:8080", "shop/cart:8080"),
            ("pod/cart", "shop/cart"),
            ("pod/other/cart", "other/cart"),
            ("other/cart:80", "other/cart:80"),
            ("svc/cart:80", "svc/shop/cart:80"),
            ("svc/other/cart", "svc/other/cart"),
            ("service/cart", "svc/shop/cart"),
            ("deploy/cart", "deploy/shop/cart"),
            ("deployment/other/cart", "deploy/other/cart"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("10.1.0.0/16", "10.1.0.0/16"),
            (":53", ":53"),
            ("[fd00::7]:443", "[fd00::7]:443"),
            ("fd00::7", "fd00::7"),
        ] {
            let endpoint =
                endpoint(typed, "shop").unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!(endpoint.to_string(), taken, "{typed}");
        }
        for typed in ["10.1.2", "Cart", "", "a/b/c/d", "-cart", "1.2.3.4.5:80"] {
            assert!(endpoint(typed, "shop").is_err(), "{typed}");
        }
    }

    #[test]
    fn something_has_to_be_traced() {
        let parse = |line: &str| {
            let words = line.split(' ').map(std::ffi::OsString::from);
            KubectlConfig::parse(words, &Terminal::none())
        };
        assert!(parse("kubectl-whydrop cart:80").is_ok());
        assert!(parse("kubectl-whydrop --from web").is_ok());
        assert!(parse("kubectl-whydrop --all --node n1").is_ok());
        for line in [
            "kubectl-whydrop",
            "kubectl-whydrop --all",
            "kubectl-whydrop Cart",
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
