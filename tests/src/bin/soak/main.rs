//! The soak: whydrop watches a lab in which nothing stays as it is, and must not grow.
//!
//! Attempts can be corrected for 150 seconds and are kept as long, so memory is level only after
//! that. The ports of clients are few, for the same reason: every kind of drop is counted apart.

mod churn;
mod filters;
mod subject;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use whydrop_tests::{
    lab::{Lab, Topology as _, topology::NodeLab},
    tracer::{Tracer, watching},
};

use churn::Churn;
use filters::Filters;
use subject::Subject;

/// Let interfaces, pods, addresses, filters and traffic come and go, and see whether whydrop grows
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long it lasts, in minutes; the first three warm up
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(5..))]
    minutes: u64,
}

/// How often a row is printed.
const ROW: Duration = Duration::from_secs(15);

fn main() -> Result<()> {
    let minutes = Arguments::parse().minutes;
    let in_lab = Lab::new()?;
    let lab = NodeLab::build_in(&in_lab)?;
    let mut arguments = watching(&lab.namespaces());
    arguments.extend(["--all", "--timeout", "500ms"].map(str::to_owned));
    let mut churn = Churn::start(&in_lab, &lab)?;
    let filters = Filters::start(&lab)?;
    let mut all = Subject::new("all", Tracer::start(arguments)?)?;
    let mut by_name = Subject::new("by name", filters.follow(&lab)?)?;

    println!(
        "   time   rounds  trace     records  resident KiB  descriptors  threads  links  maps"
    );
    let start = Instant::now();
    let end = Duration::from_secs(minutes * 60);
    let mut next = Duration::ZERO;
    while start.elapsed() < end {
        churn.round()?;
        filters.round(churn.rounds)?;
        for subject in [&mut all, &mut by_name] {
            subject.read()?;
        }
        let elapsed = start.elapsed();
        if elapsed < next {
            continue;
        }
        next += ROW;
        for subject in [&mut all, &mut by_name] {
            subject.look(elapsed, churn.rounds)?;
        }
        filters::short_trace(&lab, churn.rounds)?;
    }
    churn.end()?;
    all.end()?;
    let summary = by_name.end()?;
    ensure!(
        summary.drops > 0,
        "the filter by name has never followed the endpoints"
    );
    Ok(())
}
