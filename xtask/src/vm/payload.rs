//! What goes into every machine: whydrop and the test executables, with nothing to load.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{image::PAYLOAD, left_out, quick};
use crate::executables;

/// Without symbols the executables are a tenth as large, and all of them are in memory. Emulation
/// is slow, and slower still on a busy machine, so deadlines are longer.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"),
    ("CARGO_PROFILE_DEV_STRIP", "debuginfo"),
    ("WHYDROP_TEST_SLOW", "6"),
];

/// The library's own tests, of which those that need root are run.
const UNITS: &str = "units";

/// `whydrop check`, as the marks call it.
pub(super) const CHECK: &str = "check";

/// What is run besides the test executables: `whydrop check`, and a trace of two seconds.
pub(super) const PROGRAMS: [&str; 2] = [CHECK, "load"];

/// Which tests are run.
pub(super) enum Selection<'a> {
    /// Of these executables, or of all if none is named, those that fit the arguments.
    Of(&'a [String], &'a [OsString]),
    /// One of every kind.
    Quick,
}

impl Selection<'_> {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Of(only, _) => only.is_empty() || only.iter().any(|only| only == name),
            Self::Quick => quick::of(name).is_some(),
        }
    }

    fn arguments(&self, name: &str) -> Vec<String> {
        let mut arguments = Vec::new();
        if name == UNITS {
            // Units change namespaces of their own, one after the other.
            arguments.extend(["--ignored", "--test-threads=1"].map(str::to_owned));
        }
        match self {
            Self::Of(_, args) => {
                arguments.extend(left_out::arguments(name));
                arguments.extend(args.iter().map(|arg| arg.to_string_lossy().into_owned()));
            }
            Self::Quick => {
                let tests = quick::of(name).unwrap_or_default();
                arguments.extend(["--exact"].iter().chain(tests).map(ToString::to_string));
            }
        }
        arguments
    }
}

/// The executables.
pub(super) struct Payload {
    whydrop: PathBuf,
    /// The test executables, in order.
    tests: Vec<(String, PathBuf)>,
}

impl Payload {
    /// Builds those of the scenarios, and the units if they are selected.
    pub(super) fn build(selection: &Selection<'_>) -> Result<Self> {
        eprintln!("vm-test: building whydrop and its tests, statically");
        let whydrop = executables::whydrop(&executables::X86_64)?;
        let scenarios = ["test", "--no-run", "--package", "whydrop-tests", "--tests"];
        let mut tests = executables::build(&executables::X86_64, &scenarios, &ENVIRONMENT)?;
        if selection.has(UNITS) {
            let units = ["test", "--no-run", "--package", "whydrop", "--lib"];
            for (_, path) in executables::build(&executables::X86_64, &units, &ENVIRONMENT)? {
                tests.push((UNITS.to_owned(), path));
            }
        }
        tests.sort();
        Ok(Self { whydrop, tests })
    }

    /// The names of all test executables that there are.
    pub(super) fn names(&self) -> Vec<&str> {
        let scenarios = self.tests.iter().map(|(name, _)| name.as_str());
        scenarios
            .filter(|name| *name != UNITS)
            .chain([UNITS])
            .collect()
    }

    /// Those that are selected. Fails if one is asked for that does not exist.
    fn selected(&self, selection: &Selection<'_>) -> Result<Vec<&(String, PathBuf)>> {
        if let Selection::Of(only, _) = selection {
            let names = self.names();
            if let Some(unknown) = only.iter().find(|only| !names.contains(&only.as_str())) {
                bail!("there is no test {unknown}; there are {}", names.join(" "));
            }
        }
        let tests = self.tests.iter();
        Ok(tests.filter(|(name, _)| selection.has(name)).collect())
    }

    /// The executables that a machine needs, with their names inside.
    pub(super) fn files(&self, selection: &Selection<'_>) -> Result<Vec<(&str, &Path)>> {
        let tests = self.selected(selection)?;
        let mut files: Vec<(&str, &Path)> = tests
            .into_iter()
            .map(|(name, path)| (name.as_str(), path.as_path()))
            .collect();
        files.push(("whydrop", &self.whydrop));
        Ok(files)
    }

    /// The shell commands that run the selected tests.
    pub(super) fn commands(&self, selection: &Selection<'_>) -> Result<String> {
        let [check, load] = PROGRAMS;
        let mut commands = format!(
            "begin {check} /{PAYLOAD}/whydrop check\n\
             begin {load} /{PAYLOAD}/whydrop --all --no-kube --duration 2s\n"
        );
        for (name, _) in self.selected(selection)? {
            let arguments = selection.arguments(name);
            let arguments: Vec<String> = arguments
                .iter()
                .map(|argument| format!("'{}'", argument.replace('\'', r"'\''")))
                .collect();
            let arguments = arguments.join(" ");
            commands += &format!("begin {name} /{PAYLOAD}/{name} {arguments}\n");
        }
        Ok(commands)
    }
}
