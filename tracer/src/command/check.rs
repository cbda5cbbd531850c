//! `whydrop check`: what this node can and cannot show, and how to fix that.

use std::io::{self, Write};

use anyhow::Result;

use crate::{
    kernel::{
        btf::KernelBtf,
        preflight::{Preflight, State},
    },
    sink::{Format, Style},
};

/// Prints what was found. Gives whether a trace can run.
///
/// # Errors
///
/// `out` cannot be written to. A closed pipe is no error.
pub fn run(out: &mut impl Write, format: Format, style: &Style) -> Result<bool> {
    let btf = KernelBtf::of_running_kernel();
    let mut preflight = Preflight::look(&btf);
    if let (None, Ok(btf)) = (preflight.blocker(), &btf) {
        preflight = preflight.trial(btf);
    }
    let text = match format {
        Format::Json => serde_json::to_string(&preflight)? + "\n",
        Format::Text => text(&preflight, style.color),
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(preflight.blocker().is_none()),
    }
}

fn text(preflight: &Preflight, color: bool) -> String {
    let mut text = format!("kernel {}\n\n", preflight.kernel);
    for finding in &preflight.findings {
        let (mark, paint) = match finding.state {
            State::Present => ("✓", "\x1b[32m"),
            State::Missing => ("!", "\x1b[33m"),
            State::Required => ("✗", "\x1b[31m"),
        };
        let (paint, reset) = if color { (paint, "\x1b[0m") } else { ("", "") };
        text += &format!(
            "{paint}{mark}{reset} {:<22} {}\n",
            finding.name, finding.found
        );
        if finding.state != State::Present {
            text += &format!(
                "    without it: {}\n    to fix it:  {}\n",
                finding.cost, finding.fix
            );
        }
    }
    text += match (preflight.blocker(), preflight.degraded().len()) {
        (Some(_), _) => "\nA trace cannot run here.\n",
        (None, 0) => "\nEverything can be shown here.\n",
        (None, _) => "\nA trace runs here, without what is marked with !\n",
    };
    text
}
