//! How long it takes to name the rule that dropped a packet, among many.

use std::{fmt::Write as _, net::SocketAddr, time::SystemTime};

use anyhow::{Context as _, Result, ensure};

use super::{
    Benchmark, Effort,
    figure::{Figure, Goal, Samples, Unit},
};
use crate::{
    deadline,
    lab::{Family, Namespace, topology::RouterLab},
    tracer::{Tracer, watching},
    traffic::TcpAttempt,
};

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "rulesets",
    title: "The rule among many",
    method: "A router drops a SYN by the last rule of a chain, behind rules for other addresses and \
             ports. The time is the one from the drop to the arrival of its record, with the rule's \
             name in it; the ruleset is read anew each time.",
    run,
};

/// What the last rule drops.
const PORT: u16 = 4242;
/// Milliseconds for 10,000 rules, and for 50,000.
const GOALS: [(usize, f64); 2] = [(10_000, 300.0), (50_000, 1000.0)];

/// How the rules are made.
#[derive(Debug, Clone, Copy)]
enum Tool {
    Iptables,
    Nft,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Iptables => "iptables-nft",
            Self::Nft => "nft",
        }
    }

    /// Rules in one chain that do not match, and one that does.
    fn load(self, node: &Namespace, count: usize) -> Result<()> {
        let mut text = String::new();
        let address = |n: usize| format!("172.16.{}.{}", n / 250 % 250, n % 250 + 1);
        let port = |n: usize| 10_000 + n / 62_500 + n % 40_000;
        match self {
            Self::Iptables => {
                text +=
                    "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";
                for n in 0..count {
                    let (source, port) = (address(n), port(n));
                    writeln!(
                        text,
                        "-A FORWARD -s {source}/32 -p tcp -m tcp --dport {port} -j DROP"
                    )?;
                }
                writeln!(
                    text,
                    "-A FORWARD -p tcp -m tcp --dport {PORT} -j DROP\nCOMMIT"
                )?;
                node.run_with_input("iptables-nft-restore", &text)?;
            }
            Self::Nft => {
                text += "table inet many {\nchain forward {\n\
                         type filter hook forward priority 0; policy accept;\n";
                for n in 0..count {
                    let (source, port) = (address(n), port(n));
                    writeln!(text, "ip saddr {source} tcp dport {port} counter drop")?;
                }
                writeln!(text, "tcp dport {PORT} counter drop\n}}\n}}")?;
                node.run_with_input("nft -f -", &text)?;
            }
        }
        Ok(())
    }
}

/// Rules that hang at another hook, and cannot have dropped it.
fn load_elsewhere(node: &Namespace, count: usize) -> Result<()> {
    let mut text = String::from(
        "table ip elsewhere {\nchain pre {\ntype nat hook prerouting priority dstnat;\n",
    );
    for n in 0..count {
        let (a, b) = (n / 250 % 250, n % 250 + 1);
        writeln!(text, "ip daddr 172.17.{a}.{b} tcp dport 80 counter accept")?;
    }
    text += "}\n}\n";
    node.run_with_input("nft -f -", &text).map(drop)
}

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for tool in [Tool::Iptables, Tool::Nft] {
        for (count, goal) in GOALS {
            let count = effort.amount(count);
            let lab = RouterLab::build()?;
            tool.load(&lab.router, count)?;
            let times = measure(&lab, effort)?;
            let what = format!("{count} rules of {}", tool.name());
            figures.push(Figure::new(what, Unit::Milliseconds, times).goal(Goal::AtMost(goal)));
        }
        let lab = RouterLab::build()?;
        let count = effort.amount(50_000);
        load_elsewhere(&lab.router, count)?;
        tool.load(&lab.router, 200)?;
        let times = measure(&lab, effort)?;
        let what = format!("200 rules of {}, {count} at another hook", tool.name());
        figures.push(Figure::new(what, Unit::Milliseconds, times));
    }
    Ok(figures)
}

/// Milliseconds from the drop to the arrival of its record.
fn measure(lab: &RouterLab, effort: Effort) -> Result<Samples> {
    let to = SocketAddr::new(lab.server.address(Family::V4), PORT);
    (0..effort.rounds(5))
        .map(|_| {
            let mut arguments = watching(&[&lab.router]);
            arguments.push(to.to_string());
            let mut tracer = Tracer::start(arguments)?;
            let _attempt = TcpAttempt::start(&lab.client, None, to)?;
            tracer.wait_for("the drop", |record| record.as_drop().is_some())?;
            let (arrived, record) = tracer
                .arrivals()
                .find(|(_, record)| record.as_drop().is_some())
                .context("the drop's record")?;
            let milliseconds = latency(arrived, record.as_drop().context("a drop")?)?;
            tracer.stop()?;
            Ok(milliseconds)
        })
        .collect()
}

fn latency(arrived: SystemTime, drop: &crate::record::Drop) -> Result<f64> {
    let verdict = &drop.verdict;
    ensure!(
        verdict.why.contains(&PORT.to_string()),
        "the rule was not named within {:?}: {verdict:#?}",
        deadline()
    );
    let took = arrived.duration_since(drop.ts)?;
    Ok(took.as_secs_f64() * 1000.0)
}
