//! Kernel × test.

use std::{collections::BTreeMap, fmt};

use super::kernels::Kernel;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
}

/// What came of one machine.
#[derive(Debug, Default)]
pub(super) struct Results {
    tests: BTreeMap<String, Outcome>,
    troubles: Vec<String>,
}

impl Results {
    /// A test has ended.
    pub(super) fn add(&mut self, test: &str, outcome: Outcome) {
        self.tests.insert(test.to_owned(), outcome);
    }

    /// Something is wrong with the machine itself.
    pub(super) fn trouble(&mut self, what: String) {
        self.troubles.push(what);
    }

    /// What is wrong with the machine.
    pub(super) fn troubles(&self) -> &[String] {
        &self.troubles
    }

    fn count(&self, wanted: Outcome) -> usize {
        self.tests
            .values()
            .filter(|outcome| **outcome == wanted)
            .count()
    }
}

/// What came of all.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<(String, Results)>,
}

impl Table {
    /// Another machine has ended.
    pub(super) fn add(&mut self, kernel: &Kernel, results: Results) {
        self.columns.push((kernel.version.clone(), results));
    }

    /// Whether anything went wrong.
    pub(super) fn failed(&self) -> bool {
        self.columns
            .iter()
            .any(|(_, results)| !results.troubles.is_empty() || results.count(Outcome::Failed) > 0)
    }
}

impl fmt::Display for Table {
    /// A row for each test, and below them the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tests: Vec<&str> = self
            .columns
            .iter()
            .flat_map(|(_, results)| results.tests.keys())
            .map(String::as_str)
            .collect();
        tests.sort_unstable();
        tests.dedup();
        let width = tests.iter().map(|test| test.len()).max().unwrap_or(0);

        write!(f, "{:width$}", "")?;
        for (kernel, _) in &self.columns {
            write!(f, "  {kernel:>9}")?;
        }
        writeln!(f)?;
        for test in tests {
            write!(f, "{test:width$}")?;
            for (_, results) in &self.columns {
                let shown = match results.tests.get(test) {
                    Some(Outcome::Passed) => "ok",
                    Some(Outcome::Failed) => "FAILED",
                    None => "-",
                };
                write!(f, "  {shown:>9}")?;
            }
            writeln!(f)?;
        }
        for (what, outcome) in [("passed", Outcome::Passed), ("failed", Outcome::Failed)] {
            write!(f, "{what:width$}")?;
            for (_, results) in &self.columns {
                write!(f, "  {:>9}", results.count(outcome))?;
            }
            writeln!(f)?;
        }
        for (kernel, results) in &self.columns {
            for trouble in &results.troubles {
                writeln!(f, "{kernel} {trouble}")?;
            }
        }
        Ok(())
    }
}
