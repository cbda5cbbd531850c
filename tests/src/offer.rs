//! The fixes that verdicts offer, tried as someone does who reads them.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tracer::Tracer;

/// The first fix that was offered with a drop, and what takes it back, if anything does: commands
/// that enter the namespace of the drop by themselves.
///
/// # Errors
///
/// None comes, or it is for another place.
pub fn offered(tracer: &mut Tracer) -> Result<(String, Option<String>)> {
    let record = tracer.wait_for("a drop with a fix", |record| {
        record
            .as_drop()
            .is_some_and(|drop| !drop.verdict.fix.is_empty())
    })?;
    let drop = record.as_drop().context("a drop")?;
    let fix = &drop.verdict.fix[0];
    let (apply, undo) = (fix.line(), fix.undo_line());
    let netns = drop.netns_name.as_deref().unwrap_or_default();
    for line in [Some(apply.as_str()), undo.as_deref()]
        .into_iter()
        .flatten()
    {
        let ways = [
            format!("ip netns exec {netns} "),
            format!("nsenter --net=/run/netns/{netns} "),
        ];
        let enters = ways.iter().any(|way| line.starts_with(way));
        ensure!(enters, "{line}: not in {netns}");
    }
    Ok((apply, undo))
}

/// Runs a command as someone does who pastes it into a shell on the host.
///
/// # Errors
///
/// It fails.
pub fn paste(command: &str) -> Result<()> {
    let output = Command::new("sh").args(["-ec", command]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command}: {errors}");
    Ok(())
}
