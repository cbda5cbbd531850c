//! `whydrop check`: what this node can and cannot show, and how to fix that.

mod sources;

use std::io::{self, Write};

use anyhow::Result;

use crate::{
    cluster::source::ClusterConfig,
    kernel::{
        btf::KernelBtf,
        preflight::{Preflight, State},
    },
    sink::{Canvas, Format, Paint, Style, piece},
};

/// Prints what was found. Returns whether a trace can run.
///
/// # Errors
///
/// A given source of cluster objects is unusable, or `out` cannot be written to. A closed pipe
/// is no error.
pub(crate) fn run(
    out: &mut impl Write,
    format: Format,
    style: &Style,
    cluster: &ClusterConfig,
) -> Result<bool> {
    let btf = KernelBtf::of_running_kernel();
    let mut preflight = Preflight::look(&btf);
    if let (None, Ok(btf)) = (preflight.blocker(), &btf) {
        preflight = preflight.trial(btf);
    }
    preflight.findings.push(sources::ask(cluster)?);
    let text = match format {
        Format::Json => serde_json::to_string(&preflight)? + "\n",
        Format::Text => text(&preflight, style),
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(preflight.blocker().is_none()),
    }
}

/// Columns that a finding's name takes at most, without its details being moved.
const NAME: usize = "tracepoint tcp_retransmit_skb".len();

fn text(preflight: &Preflight, style: &Style) -> String {
    let mut canvas = Canvas::new(style);
    canvas.sentence(
        (0, 0),
        &[],
        &format!("kernel {}", preflight.kernel),
        Paint::Plain,
    );
    canvas.gap();
    for finding in &preflight.findings {
        let (mark, paint) = match finding.state {
            State::Present => ("✓", Paint::Good),
            State::Missing => ("!", Paint::Warn),
            State::Required => ("✗", Paint::Bad),
            State::Unused => ("–", Paint::Dim),
        };
        let before = [
            piece(mark, paint),
            piece(&finding.name, Paint::Plain).after(" ").padded(NAME),
        ];
        canvas.sentence((0, 4), &before, &finding.found, Paint::Plain);
        if matches!(finding.state, State::Missing | State::Required) {
            canvas.labelled(4, "without it:", finding.cost, Paint::Plain);
            canvas.labelled(4, "to fix it: ", finding.fix, Paint::Act);
        }
    }
    canvas.gap();
    let has_unused = preflight
        .findings
        .iter()
        .any(|finding| finding.state == State::Unused);
    let (end, paint) = match (preflight.blocker(), preflight.degraded().len()) {
        (Some(_), _) => ("A trace cannot run here.", Paint::Bad),
        (None, 0) if has_unused => (
            "Everything can be shown here but what is marked with –",
            Paint::Good,
        ),
        (None, 0) => ("Everything can be shown here.", Paint::Good),
        (None, _) => (
            "A trace runs here, without what is marked with !",
            Paint::Warn,
        ),
    };
    canvas.sentence((0, 0), &[], end, paint);
    canvas.finish()
}
