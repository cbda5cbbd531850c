//! Runs `whydrop probe` in a lab, and reads what it found.

use std::{fmt::Display, net::IpAddr, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use tracer_model::{LayerReport, LayerResult, PlanReport};

use crate::{
    binary,
    lab::Namespace,
    machine,
    record::{self, Attempt, Layer, Point, Record, Summary},
    tracer::{run_to_end, watching},
};

/// The command line of a probe.
#[derive(Debug, Clone)]
pub struct Probe {
    arguments: Vec<String>,
    knows_cluster: bool,
}

/// A probe that has ended.
#[derive(Debug)]
pub struct Probed {
    /// What it said it would send.
    pub plan: PlanReport,
    /// What it found, in the order of the table.
    pub layers: Vec<LayerReport>,
    /// The attempts of its own that it saw.
    pub attempts: Vec<Attempt>,
    /// None after `--dry-run`.
    pub summary: Option<Summary>,
    /// The exit status.
    pub status: Option<i32>,
    /// What it said on stderr.
    pub stderr: String,
}

impl Probe {
    /// From an address of the lab, watched in these namespaces besides those of both ends.
    pub fn new(from: IpAddr, to: impl Display, watched: &[&Namespace]) -> Self {
        let mut arguments = vec!["--from".to_owned(), from.to_string(), to.to_string()];
        arguments.extend(watching(watched));
        Self {
            arguments,
            knows_cluster: false,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn with(mut self, argument: impl Display) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// The objects of a cluster.
    #[must_use]
    pub fn cluster(mut self, file: &Path) -> Self {
        self.knows_cluster = true;
        self.with("--cluster").with(file.display())
    }

    /// The resolver's configuration.
    #[must_use]
    pub fn resolver(self, file: &Path) -> Self {
        self.with("--resolv-conf").with(file.display())
    }

    /// The command, as JSON lines.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("probe")
            .args(&self.arguments)
            .args(["-o", "json"]);
        command.env_remove("KUBECONFIG").env("HOME", "/nonexistent");
        if !self.knows_cluster {
            command.arg("--no-kube");
        }
        command
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Probed> {
        let _shared = machine::share();
        let output = run_to_end(&mut self.command())?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let stdout = String::from_utf8(output.stdout)?;
        Probed::read(&stdout, output.status.code(), stderr.clone())
            .with_context(|| format!("{:?}: {stderr}", self.arguments))
    }
}

impl Probed {
    /// From the lines of a probe.
    pub fn read(stdout: &str, status: Option<i32>, stderr: String) -> Result<Self> {
        let records: Vec<Record> = stdout.lines().map(record::read).collect::<Result<_>>()?;
        let mut records = records.into_iter();
        let Some(Record::Plan(plan)) = records.next() else {
            anyhow::bail!("the plan is not the first record of {stdout}");
        };
        let mut probed = Self {
            plan: *plan,
            layers: Vec::new(),
            attempts: Vec::new(),
            summary: None,
            status,
            stderr,
        };
        for record in records {
            match record {
                Record::Layer(layer) => probed.layers.push(*layer),
                Record::Attempt(attempt) => probed.attempts.push(*attempt),
                Record::Summary(summary) => probed.summary = Some(*summary),
                _ => {}
            }
        }
        Ok(probed)
    }

    /// A layer.
    pub fn layer(&self, layer: Layer) -> Result<&LayerReport> {
        let found = self.layers.iter().find(|one| one.layer == layer);
        found.with_context(|| format!("no {} in {self:#?}", layer.name()))
    }

    /// A layer has this result, and its evidence contains these words.
    pub fn expect(&self, layer: Layer, result: LayerResult, words: &str) -> Result<&LayerReport> {
        let found = self.layer(layer)?;
        let evidence = found.evidence.as_deref().unwrap_or_default();
        ensure!(
            found.result == result && evidence.contains(words),
            "expected {} {result:?} with {words:?}: {}",
            layer.name(),
            self.shown()
        );
        Ok(found)
    }

    /// A layer fails with this verdict, whose sentence contains these words.
    pub fn fails(&self, layer: Layer, point: Point, words: &str) -> Result<&LayerReport> {
        let found = self.expect(layer, LayerResult::Failed, "")?;
        let verdict = found.verdict.as_ref();
        let verdict = verdict.with_context(|| format!("no verdict: {}", self.shown()))?;
        ensure!(
            verdict.point == point && verdict.why.contains(words),
            "expected {} with {words:?}: {}",
            point.name(),
            self.shown()
        );
        ensure!(self.status == Some(10), "status {:?}", self.status);
        Ok(found)
    }

    /// No layer fails, there is no verdict, and every layer is there.
    pub fn healthy(&self) -> Result<()> {
        let failing = self
            .layers
            .iter()
            .any(|one| one.result == LayerResult::Failed);
        let verdict = self
            .summary
            .as_ref()
            .is_some_and(|summary| summary.verdict.is_some());
        ensure!(
            !failing && !verdict && self.status == Some(0) && self.layers.len() == 9,
            "status {:?}: {}",
            self.status,
            self.shown()
        );
        Ok(())
    }

    /// The layers, for an error message.
    pub fn shown(&self) -> String {
        let layers = self.layers.iter().map(record::shown);
        layers.collect::<Vec<_>>().join("\n  ")
    }
}
