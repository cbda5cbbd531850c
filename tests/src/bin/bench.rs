//! Measures, and writes what came out to the documentation.

use std::{io::Write as _, path::PathBuf, time::Instant};

use anyhow::{Result, bail};
use clap::Parser;
use whydrop_tests::bench::{ALL, Benchmark, Effort, bpftrace, report};

/// Measure what whydrop costs, and write docs/benchmarks.md and the table in README.md
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// Which benchmarks; all of them without a name. Only all of them are written to the
    /// documentation
    names: Vec<String>,

    /// Only enough to see that everything works; nothing is written
    #[arg(long)]
    quick: bool,

    /// Do not compare with bpftrace
    #[arg(long)]
    no_bpftrace: bool,

    /// The workspace's root
    #[arg(long, hide = true, default_value = ".")]
    root: PathBuf,
}

fn main() -> Result<()> {
    let Arguments {
        names,
        quick,
        no_bpftrace,
        root,
    } = Arguments::parse();
    let bpftrace = !no_bpftrace && bpftrace::is_here();
    if !bpftrace && !no_bpftrace {
        println!("bpftrace is not installed: nothing is compared with it");
    }
    let chosen: Vec<&Benchmark> = ALL
        .iter()
        .filter(|benchmark| names.is_empty() || names.iter().any(|name| name == benchmark.name))
        .collect();
    if let Some(unknown) = names
        .iter()
        .find(|name| ALL.iter().all(|benchmark| benchmark.name != **name))
    {
        let known: Vec<_> = ALL.iter().map(|benchmark| benchmark.name).collect();
        bail!(
            "there is no benchmark {unknown}; there are: {}",
            known.join(", ")
        );
    }
    let mut results = Vec::new();
    for benchmark in chosen {
        let start = Instant::now();
        println!("{} ({})", benchmark.title, benchmark.name);
        let figures = (benchmark.run)(Effort { quick, bpftrace })?;
        for figure in &figures {
            println!("{figure}");
        }
        println!("  in {:.0} s", start.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
        results.push((benchmark, figures));
    }
    if quick || !names.is_empty() {
        println!("Nothing was written: that takes all benchmarks, in full.");
        return Ok(());
    }
    report::write(&root, &results)
}
