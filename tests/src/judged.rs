//! What a verdict must say.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{record::Verdict, tracer::Tracer};

/// Point, confidence, and words that must be there.
#[derive(Debug, Clone)]
pub struct Judged {
    point: &'static str,
    confidence: &'static str,
    why: Vec<String>,
    evidence: Vec<String>,
    fix: Vec<String>,
}

impl Judged {
    /// A verdict of this point and confidence.
    pub fn new(point: &'static str, confidence: &'static str) -> Self {
        Self {
            point,
            confidence,
            why: Vec::new(),
            evidence: Vec::new(),
            fix: Vec::new(),
        }
    }

    /// … with these words in the sentence that gives the reason.
    pub fn why(mut self, words: impl Into<String>) -> Self {
        self.why.push(words.into());
        self
    }

    /// … with these words in one sentence of the evidence.
    pub fn evidence(mut self, words: impl Into<String>) -> Self {
        self.evidence.push(words.into());
        self
    }

    /// … with these words in one of the fixes. Without it, none may be offered.
    pub fn fix(mut self, words: impl Into<String>) -> Self {
        self.fix.push(words.into());
        self
    }

    /// What does not fit, with the verdict; `None` where all fits.
    pub fn mismatch(&self, verdict: &Verdict) -> Option<String> {
        let says = |texts: &[String], words: &String| texts.iter().any(|text| text.contains(words));
        let fits = verdict.point == self.point
            && verdict.confidence == self.confidence
            && self.why.iter().all(|words| verdict.why.contains(words))
            && self
                .evidence
                .iter()
                .all(|words| says(&verdict.evidence, words))
            && self.fix.iter().all(|words| says(&verdict.fix, words))
            && self.fix.is_empty() == verdict.fix.is_empty();
        (!fits).then(|| format!("the verdict is {verdict:?} and should be {self:?}"))
    }
}

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
    let (apply, undo) = match drop.verdict.fix[0].split_once(" (undo: ") {
        Some((apply, rest)) => {
            let undo = rest.strip_suffix(')').context("an undo to its end")?;
            (apply, Some(undo.to_owned()))
        }
        None => (drop.verdict.fix[0].as_str(), None),
    };
    let netns = drop.netns_name.as_deref().unwrap_or_default();
    for line in [Some(apply), undo.as_deref()].into_iter().flatten() {
        let ways = [
            format!("ip netns exec {netns} "),
            format!("nsenter --net=/run/netns/{netns} "),
        ];
        let enters = ways.iter().any(|way| line.starts_with(way));
        ensure!(enters, "{line}: not in {netns}");
    }
    Ok((apply.to_owned(), undo))
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
