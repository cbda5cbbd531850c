//! The project's task runner: `cargo xtask help`.
//!
//! Every task runs the set-up first, so that each of them works on a fresh machine; where nothing
//! is missing that costs a fraction of a second. Afterwards plain `cargo build` and `cargo test`
//! work too.

mod bench;
mod bpf;
mod dist;
mod executables;
mod fuzz;
mod lab;
mod lint;
mod progress;
mod run;
mod scenarios;
mod setup;
mod test;
mod vm;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Set-up, demo, tests and checks of whydrop
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Say what is missing to build and test whydrop, and install it
    Setup,
    /// Break connections in a lab of network namespaces, and watch whydrop say why
    Demo {
        /// Arguments of the demo
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Leave a lab standing, to play in by hand
    Lab {
        /// Which lab; without it, they are listed
        name: Option<OsString>,
        /// Arguments of the lab
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Watch a lab in which everything comes and goes, for minutes, and see whether whydrop grows
    Soak {
        /// Arguments of the soak, such as `--minutes 20`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run all tests: those of plain code, and the scenarios on the running kernel (as root)
    Test {
        /// Arguments of `cargo test`, such as a test's name or `-- --nocapture`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Feed mutated input to every parser of what comes from outside
    Fuzz(fuzz::Options),
    /// Run the scenarios on other kernels, each in a virtual machine
    VmTest(vm::Options),
    /// Build whydrop as one static binary, and start it where there is nothing else
    Dist(dist::Options),
    /// Measure what whydrop costs, and write docs/benchmarks.md and the table in README.md
    Bench {
        /// Names of benchmarks, and `--quick`; `--help` lists what there is
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Write the tables of scenarios, tests/tests/README.md, from their doc comments
    Scenarios,
    /// Check formatting, clippy's lints and the documentation
    Lint,
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::setup_and_report(),
        Task::Demo { args } => lab::demo(&args),
        Task::Lab { name, args } => lab::lab(name, args),
        Task::Soak { args } => lab::soak(&args),
        Task::Test { args } => test::test(&args),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::VmTest(options) => vm::test(&options),
        Task::Dist(options) => dist::dist(&options),
        Task::Bench { args } => bench::bench(&args),
        Task::Scenarios => scenarios::scenarios(),
        Task::Lint => lint::lint(),
    }
}
