//! What a verdict must say.

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

/// The first fix that was offered with a drop, to be made in the namespace of the drop, and what
/// takes it back, if anything does.
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
    let (place, commands) = drop.verdict.fix[0].split_once(": ").context("a place")?;
    let netns = drop.netns_name.as_deref().unwrap_or_default();
    ensure!(place == format!("in netns {netns}"), "{place}");
    let Some((apply, undo)) = commands.split_once(" (undo: ") else {
        return Ok((commands.to_owned(), None));
    };
    let undo = undo.strip_suffix(')').context("an undo to its end")?;
    Ok((apply.to_owned(), Some(undo.to_owned())))
}
