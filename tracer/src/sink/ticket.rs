//! A probe for a ticket: symptom, table, verdict, what was not asked, versions. As in joined traces,
//! all text from outside stands in code blocks.

use super::{markdown::fenced, text::Text};
use crate::model::{LayerReport, LayerResult, PlanReport, Report, Summary};

/// What a ticket is made of so far.
#[derive(Debug)]
pub(super) struct Ticket {
    route: String,
    kernel: Option<String>,
    /// The table, as text.
    table: String,
    layers: Vec<LayerReport>,
}

impl Ticket {
    /// Begins one.
    pub(super) fn new(plan: &PlanReport) -> Self {
        let from = plan.from.as_deref().unwrap_or("this node");
        Self {
            route: format!("{from} → {}", plan.to),
            kernel: None,
            table: String::new(),
            layers: Vec::new(),
        }
    }

    /// Its beginning: what is sent, before it is sent.
    pub(super) fn opening(text: &mut Text, plan: &Report) -> String {
        let sends = text.render(plan);
        format!("# whydrop probe\n\n## Sent\n\n{}\n", fenced(&sends))
    }

    /// Takes a report; the last one gives the rest of the ticket.
    pub(super) fn take(&mut self, text: &mut Text, report: &Report) -> String {
        match report {
            Report::Started(started) => self.kernel = Some(started.kernel.clone()),
            Report::Layer(layer) => self.layers.push(LayerReport::clone(layer)),
            _ => {}
        }
        let rendered = text.render(report);
        match report {
            Report::Summary(summary) => self.rest(summary, &rendered),
            _ => {
                self.table += &rendered;
                String::new()
            }
        }
    }

    fn rest(&self, summary: &Summary, verdict: &str) -> String {
        let of = |result| self.layers.iter().filter(move |one| one.result == result);
        let mut symptom = format!("{}\n", self.route);
        for layer in of(LayerResult::Failed) {
            let evidence = layer.evidence.as_deref().unwrap_or_default();
            symptom += &format!("{} fails: {evidence}\n", layer.layer.name());
        }
        if of(LayerResult::Failed).next().is_none() {
            symptom += "no layer fails\n";
        }
        let mut open = String::new();
        for layer in of(LayerResult::Skipped).chain(of(LayerResult::Blocked)) {
            let reason = layer.evidence.as_deref().unwrap_or_default();
            open += &format!("{}: {reason}\n", layer.layer.name());
        }
        let mut versions = format!("whydrop {}\n", env!("CARGO_PKG_VERSION"));
        if let Some(kernel) = &self.kernel {
            versions += &format!("Linux {kernel}\n");
        }
        if let Some(node) = &summary.node {
            versions += &format!("node {node}\n");
        }
        let sections = [
            ("Symptom", symptom.as_str()),
            ("Layers", self.table.trim_start_matches('\n')),
            (
                "Verdict, evidence and fix",
                verdict.trim_start_matches('\n'),
            ),
            ("Not asked", open.as_str()),
            ("Versions", versions.as_str()),
        ];
        let filled = sections.iter().filter(|(_, text)| !text.trim().is_empty());
        filled
            .map(|(title, text)| format!("## {title}\n\n{}\n", fenced(&super::text::safe(text))))
            .collect()
    }
}
