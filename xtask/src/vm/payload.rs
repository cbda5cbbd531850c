//! What goes into every machine: whydrop and the test executables, with nothing to load.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{image::PAYLOAD, left_out, quick};
use crate::{executables, run};

/// Without symbols the executables are a tenth as large, and all of them are in memory.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("CARGO_PROFILE_DEV_DEBUG", "line-tables-only"),
    ("CARGO_PROFILE_DEV_STRIP", "debuginfo"),
];

/// The program of all scenarios; each of its modules is run by itself, so that a machine that stops
/// costs the results of one of them.
const SCENARIOS: &str = "scenarios";

/// The library's own tests, of which those that need root are run.
const UNITS: &str = "units";

/// `whydrop check`, as the marks call it.
pub(super) const CHECK: &str = "check";

/// What is run besides the test executables: `whydrop check`, and a trace of two seconds.
pub(super) const PROGRAMS: [&str; 2] = [CHECK, "load"];

/// Which tests are run.
pub(super) enum Selection<'a> {
    /// Of these modules, or of all if none is named, those that fit the arguments.
    Of(&'a [String], &'a [OsString]),
    /// One for each path from the kernel of this version into whydrop.
    Quick(&'a str),
}

impl Selection<'_> {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Of(only, _) => only.is_empty() || only.iter().any(|only| only == name),
            Self::Quick(kernel) => quick::of(name, kernel).is_some(),
        }
    }

    /// The tests of a module that are run, of all that it has.
    fn tests<'t>(&self, module: &str, all: &'t [String]) -> Vec<&'t str> {
        let words = self.arguments(|argument| !argument.starts_with('-'));
        let is_wanted = |test: &&str| match self {
            Self::Of(..) => {
                let full = format!("{module}::{test}");
                !left_out::has(module, test)
                    && (words.is_empty() || words.iter().any(|word| full.contains(word.as_str())))
            }
            Self::Quick(kernel) => quick::of(module, kernel).unwrap_or_default().contains(test),
        };
        all.iter().map(String::as_str).filter(is_wanted).collect()
    }

    /// The arguments that were given for the test executables, of one sort.
    fn arguments(&self, sort: impl Fn(&str) -> bool) -> Vec<String> {
        let Self::Of(_, arguments) = self else {
            return Vec::new();
        };
        let arguments = arguments.iter().map(|argument| argument.to_string_lossy());
        arguments
            .filter(|argument| sort(argument))
            .map(std::borrow::Cow::into_owned)
            .collect()
    }
}

/// The executables.
pub(super) struct Payload {
    whydrop: PathBuf,
    scenarios: PathBuf,
    units: Option<PathBuf>,
    /// The modules of the scenarios, and the tests of each.
    modules: BTreeMap<String, Vec<String>>,
}

impl Payload {
    /// Builds those of the scenarios, and the units if they are selected.
    ///
    /// The quick selection takes what `cargo xtask test` has built: it is for the path from the
    /// kernel into whydrop, not for how whydrop is built.
    pub(super) fn build(selection: &Selection<'_>) -> Result<Self> {
        if let Selection::Quick(_) = selection {
            let [whydrop, scenarios] = executables::of_tests(SCENARIOS)?;
            return Ok(Self {
                modules: modules(&scenarios)?,
                whydrop: stripped(&whydrop)?,
                scenarios: stripped(&scenarios)?,
                units: None,
            });
        }
        eprintln!("vm-test: building whydrop and its tests, statically");
        let whydrop = executables::whydrop(&executables::X86_64, executables::Place::Kept, &[])?;
        let scenarios = build(&["--package", "whydrop-tests", "--test", SCENARIOS])?;
        let units = selection
            .has(UNITS)
            .then(|| build(&["--package", "whydrop", "--lib"]))
            .transpose()?;
        Ok(Self {
            whydrop,
            modules: modules(&scenarios)?,
            scenarios,
            units,
        })
    }

    /// The names of everything whose tests are run apart.
    pub(super) fn names(&self) -> Vec<&str> {
        let modules = self.modules.keys().map(String::as_str);
        modules.chain([UNITS]).collect()
    }

    /// Fails if something is asked for that does not exist.
    fn require(&self, selection: &Selection<'_>) -> Result<()> {
        if let Selection::Of(only, _) = selection {
            let names = self.names();
            if let Some(unknown) = only.iter().find(|only| !names.contains(&only.as_str())) {
                bail!("there is no test {unknown}; there are {}", names.join(" "));
            }
        }
        Ok(())
    }

    /// The executables that a machine needs, with their names inside.
    pub(super) fn files(&self) -> Vec<(&'static str, &Path)> {
        let units = self.units.as_deref().map(|path| (UNITS, path));
        [
            ("whydrop", self.whydrop.as_path()),
            (SCENARIOS, self.scenarios.as_path()),
        ]
        .into_iter()
        .chain(units)
        .collect()
    }

    /// The shell commands that run the selected tests.
    pub(super) fn commands(&self, selection: &Selection<'_>) -> Result<String> {
        self.require(selection)?;
        let [check, load] = PROGRAMS;
        let mut commands = format!(
            "begin {check} /{PAYLOAD}/whydrop check\n\
             begin {load} /{PAYLOAD}/whydrop --all --no-kube --duration 2s\n"
        );
        let options = selection.arguments(|argument| argument.starts_with('-'));
        for (module, all) in &self.modules {
            let tests = selection.tests(module, all);
            if !selection.has(module) || tests.is_empty() {
                continue;
            }
            let tests = tests.iter().map(|test| format!("{module}::{test}"));
            let arguments = ["--exact".to_owned()].into_iter().chain(tests);
            let arguments = quoted(arguments.chain(options.clone()));
            commands += &format!("begin {module} /{PAYLOAD}/{SCENARIOS} {arguments}\n");
        }
        if self.units.is_some() {
            // Units change namespaces of their own, one after the other.
            let fixed = ["--ignored", "--test-threads=1"].map(str::to_owned);
            let given = selection.arguments(|_| true);
            let arguments = quoted(fixed.into_iter().chain(given));
            commands += &format!("begin {UNITS} /{PAYLOAD}/{UNITS} {arguments}\n");
        }
        Ok(commands)
    }
}

/// A copy without debugging information: all of it would be in the machine's memory.
fn stripped(program: &Path) -> Result<PathBuf> {
    let directory = super::directory();
    fs::create_dir_all(&directory)?;
    let name = program.file_name().context("a program has a name")?;
    let copy = directory.join(name);
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(&copy).arg(program);
    run::run(&mut strip)?;
    Ok(copy)
}

/// Builds the one test executable that cargo's arguments select.
fn build(which: &[&str]) -> Result<PathBuf> {
    let args = [&["test", "--no-run"], which].concat();
    let built = executables::build(&executables::X86_64, &args, &ENVIRONMENT)?;
    let (_, path) = built.into_iter().next().context("cargo built nothing")?;
    Ok(path)
}

/// The modules of a test executable, which runs here too, and the tests of each.
fn modules(scenarios: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let mut command = Command::new(scenarios);
    let output = command.args(["--list", "--format", "terse"]).output()?;
    if !output.status.success() {
        bail!("{} does not list its tests", scenarios.display());
    }
    let mut modules = BTreeMap::<String, Vec<String>>::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let name = line.strip_suffix(": test");
        let (module, test) = name
            .and_then(|name| name.split_once("::"))
            .with_context(|| format!("not a test of a module: {line}"))?;
        let tests = modules.entry(module.to_owned()).or_default();
        tests.push(test.to_owned());
    }
    Ok(modules)
}

/// Arguments as a shell takes them.
fn quoted(arguments: impl Iterator<Item = String>) -> String {
    arguments
        .map(|argument| format!("'{}'", argument.replace('\'', r"'\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_machine_runs_what_is_selected() {
    let all = ["live::names_change", "node_port", "service"].map(str::to_owned);
    let of = |words: &[&str]| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Selection::Of(&[], &words).tests("by_name", &all).join(" ")
    };
    assert_eq!(of(&["--nocapture"]), all.join(" "));
    assert_eq!(of(&["names", "service"]), "live::names_change service");
    assert_eq!(of(&["by_name::node"]), "node_port");

    let quick = ["iptables_forward", "iptables_input"].map(str::to_owned);
    assert_eq!(
        Selection::Quick("6.12.117").tests("netfilter", &quick),
        ["iptables_forward"]
    );
}
