//! The commands, which put it all together.

pub(crate) mod check;
mod ending;
pub(crate) mod explain;
pub(crate) mod generate;
mod interfaces;
mod join;
mod log;
mod node_queries;
mod panic;
mod setup;
mod shell;
pub(crate) mod trace;
mod unmatched;
mod wait;
mod watchdog;

use std::{env, io, process::ExitCode};

use anyhow::Result;
use clap::Parser as _;

use crate::{
    cli::{
        Cli,
        arrange::arranged,
        options::{Config, Mode},
    },
    sink::Terminal,
};

/// The whole program: reads its arguments, does what they ask, and prints the error if that fails.
pub fn main() -> ExitCode {
    panic::install();
    // A dump would hold the cluster's credentials. Older kernels refuse nothing here.
    nix::sys::prctl::set_dumpable(false).ok();
    let config = match Config::new(
        Cli::parse_from(arranged(env::args_os())),
        &Terminal::stdout(),
    ) {
        Ok(config) => config,
        Err(usage) => usage.exit(),
    };
    match run(config) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn run(config: Config) -> Result<ExitCode> {
    match config.mode {
        Mode::Trace(config) => trace::run(&config).map(|()| ExitCode::SUCCESS),
        Mode::Check(output, cluster) => {
            let out = &mut io::stdout().lock();
            let able = check::run(out, output.format, &output.style, &cluster)?;
            Ok(if able {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Mode::Explain(config) => explain::run(&mut io::stdout().lock(), &mut io::stderr(), &config)
            .map(|()| ExitCode::SUCCESS),
        Mode::Join(config) => join::run(&config).map(|()| ExitCode::SUCCESS),
        Mode::Completions(shell) => {
            generate::completions(&mut io::stdout().lock(), shell)?;
            Ok(ExitCode::SUCCESS)
        }
        Mode::Man(subcommand) => {
            generate::man(&mut io::stdout().lock(), subcommand.as_deref())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("whydrop: {error:#}");
    ExitCode::FAILURE
}
