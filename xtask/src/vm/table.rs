//! Kernel × test, for the terminal.

use std::{collections::BTreeSet, fmt};

use super::{
    kernels::Kernel,
    results::{Outcome, Results},
};

/// What came of all machines of one run.
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
        self.columns.iter().any(|(_, results)| {
            !results.problems().is_empty() || results.count(None, Outcome::Failed) > 0
        })
    }
}

impl fmt::Display for Table {
    /// A row for each test, and below them the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: BTreeSet<&str> = self
            .columns
            .iter()
            .flat_map(|(_, results)| results.tests().map(|(test, _)| test))
            .collect();
        let width = tests.iter().map(|test| test.len()).max().unwrap_or(0);

        write!(f, "{:width$}", "")?;
        for (kernel, _) in &self.columns {
            write!(f, "  {kernel:>9}")?;
        }
        writeln!(f)?;
        for test in tests {
            write!(f, "{test:width$}")?;
            for (_, results) in &self.columns {
                let shown = match results.of(test) {
                    Some(Outcome::Passed) => "ok",
                    Some(Outcome::Failed) => "FAILED",
                    Some(Outcome::Skipped) => "skipped",
                    None => "-",
                };
                write!(f, "  {shown:>9}")?;
            }
            writeln!(f)?;
        }
        for outcome in Outcome::ALL {
            write!(f, "{:width$}", outcome.name())?;
            for (_, results) in &self.columns {
                write!(f, "  {:>9}", results.count(None, outcome))?;
            }
            writeln!(f)?;
        }
        for (kernel, results) in &self.columns {
            for problem in results.problems() {
                writeln!(f, "{kernel} {problem}")?;
            }
        }
        Ok(())
    }
}
