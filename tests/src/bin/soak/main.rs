//! The soak: whydrop watches a lab in which nothing stays as it is, and must not grow.
//!
//! Attempts can be corrected for 150 seconds and are kept as long, so memory is level only after
//! that. The ports of clients are few, for the same reason: every kind of drop is counted apart.

mod churn;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use whydrop_tests::{
    holdings::Holdings,
    lab::{Lab, Topology as _, topology::NodeLab},
    poll_until,
    tracer::{Tracer, watching},
};

use churn::Churn;

/// Let interfaces, pods, addresses and traffic come and go, and see whether whydrop grows
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long it lasts, in minutes; the first three warm up
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(5..))]
    minutes: u64,
}

const WARM_UP: Duration = Duration::from_secs(180);
/// How often a row is printed.
const ROW: Duration = Duration::from_secs(15);
/// What memory may grow by after the warm-up, in percent: an allocator is not exact.
const GROWTH: u64 = 5;

fn main() -> Result<()> {
    let minutes = Arguments::parse().minutes;
    let in_lab = Lab::new()?;
    let lab = NodeLab::build_in(&in_lab)?;
    let mut arguments = watching(&lab.namespaces());
    arguments.extend(["--all", "--timeout", "500ms"].map(str::to_owned));
    let mut tracer = Tracer::start(arguments)?;
    let pid = tracer.pid();
    let mut churn = Churn::start(&in_lab, &lab)?;
    let idle = Holdings::of(pid)?;

    println!("   time   rounds  records  resident KiB  descriptors  threads  links  maps");
    let start = Instant::now();
    let end = Duration::from_secs(minutes * 60);
    let (mut next, mut records) = (Duration::ZERO, 0);
    let mut warm: Option<u64> = None;
    let mut highest = 0;
    while start.elapsed() < end {
        churn.round()?;
        records += tracer.discard()?;
        let elapsed = start.elapsed();
        if elapsed < next {
            continue;
        }
        next += ROW;
        let now = Holdings::of(pid)?;
        println!(
            "{:>5} s  {:>7}  {records:>7}  {:>12}  {:>11}  {:>7}  {:>5}  {:>4}",
            elapsed.as_secs(),
            churn.rounds,
            now.resident,
            now.descriptors,
            now.threads,
            now.links.len(),
            now.maps
        );
        if elapsed >= WARM_UP {
            warm.get_or_insert(now.resident);
            highest = highest.max(now.resident);
        }
    }
    churn.end()?;
    // What it let go of is gone once the kernel has told it of the last interface.
    let quiet = poll_until("whydrop to hold as much as at the start", || {
        let quiet = Holdings::of(pid).ok()?;
        let same = (quiet.descriptors, &quiet.links, quiet.maps)
            == (idle.descriptors, &idle.links, idle.maps);
        same.then_some(quiet)
    });
    let after = match quiet {
        Ok(quiet) => quiet,
        Err(error) => {
            let after = Holdings::of(pid)?;
            return Err(error.context(format!("at the start {idle}; now {after}")));
        }
    };
    let summary = tracer.stop()?.summary;
    let warm = warm.unwrap_or(after.resident);
    println!("at the start: {idle}\nat the end:   {after}");
    println!(
        "{} drops, {} lost, {} attempts; after the warm-up {warm} KiB, at most {highest} KiB",
        summary.drops,
        summary.lost,
        summary.attempts.values().sum::<u64>(),
    );
    ensure!(
        highest <= warm + warm * GROWTH / 100,
        "it grew: {warm} KiB after the warm-up, {highest} KiB later"
    );
    Ok(())
}
