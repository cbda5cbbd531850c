//! `whydrop join`: traces of several nodes as one path for each attempt.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    cli::options::JoinConfig,
    join::{Trace, join},
    model::{Outcome, PathReport, Report},
    report::record,
    sink::{self, Delivery, Printer},
    words,
};

/// The longest record that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// Reads the traces, joins them, and prints the paths.
///
/// # Errors
///
/// A file cannot be read, or is no trace; or the output cannot be written to.
pub(super) fn run(config: &JoinConfig) -> Result<()> {
    let mut traces = Vec::new();
    for file in &config.files {
        let trace = read(file).with_context(|| format!("cannot read {}", file.display()))?;
        traces.push(trace);
    }
    name_apart(&mut traces);
    let paths = join(&traces);
    for sentence in traces.iter().filter_map(Trace::without_path) {
        sink::note(&sentence);
    }
    let mut printer = Printer::new(
        io::stdout(),
        config.output.format,
        config.output.style.clone(),
        config.detail,
    );
    if printer.heading(&heading(&traces, &paths))? == Delivery::ReaderGone {
        return Ok(());
    }
    for path in paths {
        if printer.print(&Report::Path(Box::new(path)))? == Delivery::ReaderGone {
            break;
        }
    }
    Ok(())
}

/// Reads one trace. Lines that are no records are left out, and counted.
fn read(file: &Path) -> Result<Trace> {
    let metadata = std::fs::metadata(file)?;
    ensure!(
        metadata.is_file(),
        "not a file: write the trace to a file first, with `whydrop … -o json > {}.jsonl`",
        file.file_stem().unwrap_or_default().display()
    );
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut lines = BufReader::new(File::open(file)?);
    let mut trace = None;
    let (mut left_out, mut first_of_them) = (0, None);
    for number in 1_u64.. {
        let mut line = Vec::new();
        if lines.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let seq = record::number(&text);
        match (record::read(&text), &mut trace) {
            (Ok(Report::Started(started)), None) => {
                trace.insert(Trace::new(*started, &stem)).number(seq);
            }
            (Ok(report), Some(trace)) => {
                trace.take(report);
                trace.number(seq);
            }
            (Ok(_), None) => {
                bail!("its first record is not `started`: this is not the beginning of a trace")
            }
            (Err(_), _) if text.trim().is_empty() => {}
            (Err(error), trace) => {
                if let Some(trace) = trace {
                    trace.skip(seq);
                }
                left_out += 1;
                first_of_them.get_or_insert((number, error));
            }
        }
    }
    let trace =
        trace.context("it has no record `started`; expected what `whydrop … -o json` writes")?;
    if let Some((first, error)) = first_of_them {
        sink::note(&format!(
            "{}: left out {} that are not records; the first is line {first}: {error}",
            file.display(),
            words::count(left_out, "line"),
        ));
    }
    Ok(trace)
}

/// Gives traces of one node names apart.
pub(super) fn name_apart(traces: &mut [Trace]) {
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for trace in traces {
        let seen = times.entry(trace.node.clone()).or_default();
        *seen += 1;
        if *seen > 1 {
            trace.node = format!("{} ({seen})", trace.node);
        }
    }
}

/// The nodes, and how many attempts there are.
pub(super) fn heading(traces: &[Trace], paths: &[PathReport]) -> String {
    let nodes: Vec<_> = traces.iter().map(|trace| trace.node.as_str()).collect();
    let answered = paths
        .iter()
        .filter(|path| path.outcome == Outcome::Answered);
    format!(
        "{} in traces of {}: {} answered",
        words::count(paths.len() as u64, "attempt"),
        nodes.join(", "),
        answered.count(),
    )
}
