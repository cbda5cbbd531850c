//! The results as documentation: docs/benchmarks.md, and three figures in README.md.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{Benchmark, figure::Figure};

/// What is known of the goals that are missed, and of what was tried: written by hand.
const NOTES: &str = include_str!("notes.md");
/// What stands around the table in README.md.
const MARKERS: [&str; 2] = ["<!-- benchmarks -->", "<!-- /benchmarks -->"];

/// The results of one benchmark.
pub type Results<'a> = (&'a Benchmark, Vec<Figure>);

/// Writes both.
///
/// # Errors
///
/// A file cannot be read or written, or the README has no place for the table.
pub fn write(root: &Path, results: &[Results<'_>]) -> Result<()> {
    let page = root.join("docs/benchmarks.md");
    fs::write(&page, document(results)).context("cannot write docs/benchmarks.md")?;
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).context("cannot read README.md")?;
    let text = between_markers(&text, &short(results))?;
    fs::write(&readme, text).context("cannot write README.md")?;
    println!(
        "written: {} and the table in {}",
        page.display(),
        readme.display()
    );
    Ok(())
}

fn document(results: &[Results<'_>]) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         Made by `cargo xtask bench` on {}, on {}. The same command regenerates this page; \
         `cargo xtask bench NAME` runs one benchmark, `--quick` makes it short, and neither writes \
         a file.\n\n\
         Figures are ratios where possible, of values measured at the same time or alternately. A \
         figure is the median of several rounds; the range in parentheses spans the middle half of \
         them.\n",
        Timestamp::now().strftime("%F"),
        machine()
    );
    for (benchmark, figures) in results {
        let Benchmark {
            name,
            title,
            method,
            ..
        } = benchmark;
        // A String takes everything.
        let _ = write!(
            text,
            "\n## {title}\n\n`cargo xtask bench {name}`. {method}\n\n"
        );
        text.push_str(&table(figures));
    }
    text.push('\n');
    text.push_str(NOTES);
    text
}

/// What the README shows.
fn short(results: &[Results<'_>]) -> String {
    let mut text = "| what | median (middle half) |\n|---|---|\n".to_owned();
    for figure in results.iter().flat_map(|(_, figures)| figures) {
        if let Some(name) = figure.headline {
            let [_, value, ..] = figure.cells();
            // A String takes everything.
            let _ = writeln!(text, "| {name} | {value} |");
        }
    }
    text
}

fn table(figures: &[Figure]) -> String {
    let mut text = "| what | figure | goal | met |\n|---|---|---|---|\n".to_owned();
    for figure in figures {
        let _ = writeln!(text, "| {} |", figure.cells().join(" | "));
    }
    text
}

fn between_markers(text: &str, table: &str) -> Result<String> {
    let [opening, closing] = MARKERS;
    let (before, rest) = text
        .split_once(opening)
        .with_context(|| format!("README.md has no {opening}"))?;
    let (_, after) = rest
        .split_once(closing)
        .with_context(|| format!("README.md has no {closing}"))?;
    Ok(format!("{before}{opening}\n{table}{closing}{after}"))
}

/// Processor, memory, kernel.
fn machine() -> String {
    let value = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = value("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let virtual_machine = match value("/proc/cpuinfo", "flags") {
        Some(flags) if flags.split(' ').any(|flag| flag == "hypervisor") => ", virtual",
        _ => "",
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = value("/proc/meminfo", "MemTotal")
        .and_then(|kib| kib.trim_end_matches(" kB").parse::<f64>().ok())
        .map_or_else(
            || "unknown".to_owned(),
            |kib| format!("{:.0} GiB", kib / f64::from(1 << 20)),
        );
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let bpftrace = Command::new("bpftrace").arg("--version").output();
    let bpftrace = bpftrace.map_or_else(
        |_| "without bpftrace".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    format!(
        "{cores} cores of {processor}{virtual_machine}, {memory} of memory, Linux {}, {bpftrace}",
        kernel.trim()
    )
}

#[test]
fn the_table_comes_between_the_markers() {
    let readme = "a\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nb\n";
    let new = between_markers(readme, "new\n").unwrap();
    assert_eq!(new, readme.replace("old", "new"));
    assert!(between_markers("a", "new").is_err());
}
