//! What came of the tests on one kernel, and what of that is kept between runs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// Ignored by the harness.
    Skipped,
}

impl Outcome {
    pub(super) const ALL: [Self; 3] = [Self::Passed, Self::Failed, Self::Skipped];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}

/// The results of one machine, or of all machines with one kernel.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// By group and test, `netfilter::nft_forward`; programs without tests go by their name.
    tests: BTreeMap<String, Outcome>,
    /// Days of the groups' last runs.
    days: BTreeMap<String, String>,
    /// What `whydrop check` said.
    findings: Vec<String>,
    problems: Vec<String>,
}

impl Results {
    /// A test has ended.
    pub(super) fn add(&mut self, test: &str, outcome: Outcome) {
        self.tests.insert(test.to_owned(), outcome);
    }

    /// A line of `whydrop check`.
    pub(super) fn add_finding(&mut self, line: &str) {
        self.findings.push(line.to_owned());
    }

    /// Something is wrong with the machine itself.
    pub(super) fn add_problem(&mut self, what: String) {
        self.problems.push(what);
    }

    /// What is wrong with the machine.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// What `whydrop check` said.
    pub(super) fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Every test and its end.
    pub(super) fn tests(&self) -> impl Iterator<Item = (&str, Outcome)> {
        self.tests.iter().map(|(test, end)| (test.as_str(), *end))
    }

    /// How a test ended, if it ran.
    pub(super) fn of(&self, test: &str) -> Option<Outcome> {
        self.tests.get(test).copied()
    }

    /// How many tests of a group ended like this; of all, without one.
    pub(super) fn count(&self, group: Option<&str>, wanted: Outcome) -> usize {
        let ended = self.tests().filter(|(_, outcome)| *outcome == wanted);
        ended
            .filter(|(test, _)| group.is_none_or(|name| group_of(test) == name))
            .count()
    }

    /// The first day of a run that is in here.
    pub(super) fn oldest_day(&self) -> Option<&str> {
        self.days.values().map(String::as_str).min()
    }

    /// Whether there are results of all of a group's tests.
    pub(super) fn has_run(&self, group: &str) -> bool {
        self.days.contains_key(group)
    }

    /// Takes over all tests of a group that has run completely.
    pub(super) fn replace(&mut self, new: &Results, group: &str, day: &str) {
        self.tests.retain(|test, _| group_of(test) != group);
        self.days.insert(group.to_owned(), day.to_owned());
        let of_it = new.tests().filter(|(test, _)| group_of(test) == group);
        self.tests
            .extend(of_it.map(|(test, outcome)| (test.to_owned(), outcome)));
        self.findings.clone_from(&new.findings);
    }

    /// Leaves only these groups: others are no more.
    pub(super) fn keep(&mut self, groups: &[&str]) {
        let known = |name: &str| groups.contains(&name);
        self.tests.retain(|test, _| known(group_of(test)));
        self.days.retain(|name, _| known(name));
    }

    /// Those that were kept, or none.
    pub(super) fn load(directory: &Path, kernel: &str) -> Self {
        let read = || -> Option<Self> {
            let text = fs::read_to_string(file(directory, kernel)).ok()?;
            let value: Value = serde_json::from_str(&text).ok()?;
            let mut results = Self::default();
            for (test, outcome) in value.get("tests")?.as_object()? {
                results.add(test, Outcome::of_name(outcome.as_str()?)?);
            }
            for (name, day) in value.get("days")?.as_object()? {
                results.days.insert(name.clone(), day.as_str()?.to_owned());
            }
            for line in value.get("findings")?.as_array()? {
                results.add_finding(line.as_str()?);
            }
            Some(results)
        };
        // Of another version of this program, or cut off: they can be made again.
        read().unwrap_or_default()
    }

    /// Keeps them.
    pub(super) fn save(&self, directory: &Path, kernel: &str) -> Result<()> {
        fs::create_dir_all(directory)?;
        let tests: BTreeMap<&str, &str> = self
            .tests()
            .map(|(test, outcome)| (test, outcome.name()))
            .collect();
        let value = json!({ "tests": tests, "days": self.days, "findings": self.findings });
        let path = file(directory, kernel);
        fs::write(&path, format!("{value:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn file(directory: &Path, kernel: &str) -> PathBuf {
    directory.join(format!("{kernel}.json"))
}

/// The group that a test belongs to.
pub(super) fn group_of(test: &str) -> &str {
    test.split_once("::").map_or(test, |(name, _)| name)
}
