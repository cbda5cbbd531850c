//! `whydrop explain --way`: the way of a packet that was never sent, through this node.

use std::{
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::{
    model::{Flow, Protocol},
    net::netns,
    node::{
        taker::Taken,
        way::{Act, Because, End, Live, Packet, Start, Way},
        world::{Part, World},
    },
    sink::{Canvas, Paint, Style, piece},
};

/// How long the node may take to answer.
const LIMIT: Duration = Duration::from_secs(10);

/// The port that a client is taken to send from: any will do.
const CLIENT_PORT: u16 = 40000;

/// A way ends before a process gets the packet.
const FAILED: u8 = 10;
/// Where a way ends is not known.
const UNDECIDED: u8 = 11;

/// The way, as its JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    flow: String,
    /// Several where a rule chooses among several translations.
    ways: Vec<WayReport>,
    gaps: Vec<String>,
}

#[derive(Debug, Serialize)]
struct WayReport {
    steps: Vec<StepReport>,
    end: EndReport,
}

#[derive(Debug, Serialize)]
struct StepReport {
    netns: String,
    step: &'static str,
    text: String,
}

/// How a way ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum EndKind {
    /// A process gets it, or what in the kernel it is for.
    Delivered,
    /// It goes on beyond this node.
    Leaves,
    Dropped,
    /// By a rule that answers.
    Rejected,
    /// No process takes it.
    Refused,
    Undecided,
}

#[derive(Debug, Serialize)]
struct EndReport {
    end: EndKind,
    netns: Option<String>,
    ifname: Option<String>,
    /// The socket that takes it, where it is delivered to one.
    socket: Option<SocketReport>,
    text: String,
}

/// A socket, and the process that has it.
#[derive(Debug, Serialize)]
struct SocketReport {
    address: SocketAddr,
    process: Option<String>,
    pid: Option<u32>,
}

impl Report {
    /// The exit status: 0 if every way ends at a process or leaves this node.
    pub(super) fn status(&self) -> ExitCode {
        let mut worst = if self.ways.is_empty() { UNDECIDED } else { 0 };
        for way in &self.ways {
            match way.end.end {
                EndKind::Dropped | EndKind::Rejected | EndKind::Refused => {
                    return ExitCode::from(FAILED);
                }
                EndKind::Undecided => worst = UNDECIDED,
                EndKind::Delivered | EndKind::Leaves => {}
            }
        }
        ExitCode::from(worst)
    }
}

/// Walks the first packet of a flow through this node.
///
/// # Errors
///
/// There is no such network namespace; or, where none is given, none of this node has the source, or
/// several do.
pub(super) fn walk(
    netns: Option<&str>,
    (src, sport): (IpAddr, Option<u16>),
    (dst, dport): (IpAddr, Option<u16>),
    proto: Protocol,
) -> Result<Report> {
    let deadline = Instant::now() + LIMIT;
    let world = World::read(&Part::all(), LIMIT);
    let start = match netns {
        Some(name) => Start::Sent(netns::resolve(name)?),
        None => start(&world, src)?,
    };
    let has_ports = matches!(proto, Protocol::Tcp | Protocol::Udp | Protocol::Sctp);
    let flow = Flow {
        proto,
        src,
        sport: has_ports.then_some(sport.unwrap_or(CLIENT_PORT)),
        dst,
        dport,
    };
    let live = Live::new(&world, deadline);
    let ways = Way::all_of(&world, &live, start, &Packet::first_of(flow));
    Ok(Report {
        flow: format!(
            "{} → {}, {}{}",
            flow.src,
            flow.dst,
            flow.proto,
            flow.dport
                .map(|port| format!(" {port}"))
                .unwrap_or_default()
        ),
        ways: ways
            .iter()
            .map(|way| report(&world, way, taken(&world, way, flow, deadline)))
            .collect(),
        gaps: world.gaps,
    })
}

/// The namespace that has the source.
fn start(world: &World, src: IpAddr) -> Result<Start> {
    let mut holders = world.holders(src);
    holders.sort_by_key(|holder| holder.netns);
    holders.dedup_by_key(|holder| holder.netns);
    match holders.as_slice() {
        [] => bail!("no network namespace of this node has {src}: its way begins elsewhere"),
        [only] => Ok(Start::Sent(only.netns)),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|holder| holder.netns_name.as_str())
                .collect();
            bail!(
                "several network namespaces have {src}: {}",
                names.join(", ")
            )
        }
    }
}

/// What becomes of a packet that is delivered.
fn taken(world: &World, way: &Way, sent: Flow, deadline: Instant) -> Option<Taken> {
    let End::Delivered { link, .. } = way.end else {
        return None;
    };
    let (netns, delivered) = way.delivered(sent)?;
    let namespace = world.namespace(netns)?;
    let ifindex = link.map(|link| link.ifindex);
    Taken::read(&namespace.reference, delivered, ifindex, deadline)
}

fn report(world: &World, way: &Way, taken: Option<Taken>) -> WayReport {
    let name = |netns: u32| {
        let namespace = world.namespace(netns);
        namespace.map_or_else(|| netns.to_string(), |one| one.name.clone())
    };
    let steps = way.steps.iter().map(|step| StepReport {
        netns: name(step.netns),
        step: match step.act {
            Act::Sent => "sent",
            Act::CameIn(_) => "in",
            Act::Bridged { .. } => "bridge",
            Act::Passed(_) => "hook",
            Act::Translated(..) | Act::KeptByEntry(..) | Act::Exempted(..) => "nat",
            Act::Routed(_) => "route",
            Act::Resolved { .. } => "neighbor",
            Act::WentOut(_) => "out",
        },
        text: step.in_words(world),
    });
    let (end, netns, link) = match &way.end {
        End::Delivered { netns, link, .. } => match taken {
            Some(Taken::Refused(_)) => (EndKind::Refused, Some(*netns), *link),
            Some(Taken::Unknown(_)) => (EndKind::Undecided, Some(*netns), *link),
            Some(Taken::By(_)) | None => (EndKind::Delivered, Some(*netns), *link),
        },
        End::Dropped {
            netns,
            link,
            because: Because::Rule(_, by),
        } if by.rejects => (EndKind::Rejected, Some(*netns), *link),
        End::Dropped { netns, link, .. } => (EndKind::Dropped, Some(*netns), *link),
        End::Leaves { by, .. } => (EndKind::Leaves, Some(by.netns), Some(*by)),
        End::Undecided { netns, .. } => (EndKind::Undecided, Some(*netns), None),
    };
    let link = link.and_then(|link| world.link(link));
    let mut text = way.end.in_words(world);
    let socket = match taken {
        Some(Taken::By(taker)) => {
            text += &format!(": {taker}");
            Some(SocketReport {
                address: taker.local,
                pid: taker.process.as_ref().map(|process| process.pid),
                process: taker.process.map(|process| process.comm),
            })
        }
        Some(Taken::Refused(why)) => {
            text = format!("refused{}: {why}", text.trim_start_matches("delivered"));
            None
        }
        Some(Taken::Unknown(want)) => {
            text = format!("undecided: {text}; {want}");
            None
        }
        None => None,
    };
    WayReport {
        steps: steps.collect(),
        end: EndReport {
            end,
            netns: netns.map(name),
            ifname: link.map(|link| link.name.clone()),
            socket,
            text,
        },
    }
}

/// Columns of a step's name.
const STEP: usize = "neighbor".len();

/// The way for people: the steps, under the namespace that they happen in.
pub(super) fn render(report: &Report, style: &Style) -> String {
    let mut canvas = Canvas::new(style);
    canvas.sentence((0, 0), &[], &format!("{}:", report.flow), Paint::Plain);
    let several = report.ways.len() > 1;
    for (place, way) in report.ways.iter().enumerate() {
        if several {
            let title = format!("way {} of {}:", place + 1, report.ways.len());
            canvas.sentence((0, 0), &[], &title, Paint::Plain);
        }
        let mut netns = None;
        for step in &way.steps {
            if netns.replace(&step.netns) != Some(&step.netns) {
                canvas.line(2, 2, &[piece(&step.netns, Paint::Bold)]);
            }
            let name = piece(step.step, Paint::Plain).padded(STEP);
            canvas.sentence((4, 4 + STEP + 2), &[name], &step.text, Paint::Plain);
        }
        let paint = match way.end.end {
            EndKind::Delivered | EndKind::Leaves => Paint::Good,
            EndKind::Dropped | EndKind::Rejected | EndKind::Refused => Paint::Bad,
            EndKind::Undecided => Paint::Warn,
        };
        canvas.sentence((0, 2), &[], &way.end.text, paint);
    }
    for gap in &report.gaps {
        canvas.labelled(0, "!", gap, Paint::Warn);
    }
    canvas.finish()
}
