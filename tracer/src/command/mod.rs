//! The commands, which put it all together.

#[cfg(feature = "trace")]
pub(crate) mod check;
mod ending;
pub(crate) mod explain;
pub(crate) mod generate;
#[cfg(feature = "trace")]
mod heartbeat;
#[cfg(feature = "trace")]
mod interfaces;
mod join;
mod kubectl;
#[cfg(feature = "trace")]
mod log;
#[cfg(feature = "trace")]
mod node_queries;
mod panic;
#[cfg(feature = "trace")]
pub(crate) mod probe;
#[cfg(feature = "trace")]
mod setup;
#[cfg(feature = "trace")]
mod shell;
#[cfg(feature = "trace")]
pub(crate) mod trace;
#[cfg(feature = "trace")]
mod unmatched;
#[cfg(feature = "trace")]
mod wait;
#[cfg(feature = "trace")]
mod watchdog;

use std::{env, io, process::ExitCode};

use anyhow::Result;

use crate::{
    cli::{
        Cli,
        options::{Config, Mode},
    },
    sink::{self, Terminal},
};

/// The whole program: reads its arguments, does what they ask, and prints the error if that fails.
pub fn main() -> ExitCode {
    panic::install();
    // A dump would hold the cluster's credentials. Older kernels refuse nothing here.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).ok();
    if kubectl::is_asked_for(env::args_os().next().as_deref()) {
        return kubectl::main();
    }
    let cli = Cli::read(env::args_os());
    let config = match cli.and_then(|cli| Config::new(cli, &Terminal::stdout())) {
        Ok(config) => config,
        Err(usage) => return sink::usage(&usage),
    };
    match run(config) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

/// What cannot be done without the node's half.
#[cfg(not(feature = "trace"))]
const NOT_A_NODE: &str = "this build has no probes: trace nodes of a cluster with `kubectl whydrop`, or run \
     the Linux build on the node";

fn run(config: Config) -> Result<ExitCode> {
    match config.mode {
        #[cfg(feature = "trace")]
        Mode::Trace(config) => trace::run(&config).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "trace")]
        Mode::Check(output, cluster) => {
            let out = &mut io::stdout().lock();
            let able = check::run(out, output.format, &output.style, &cluster)?;
            Ok(if able {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        #[cfg(not(feature = "trace"))]
        Mode::Trace(_) | Mode::Check(..) | Mode::Probe(_) => anyhow::bail!(NOT_A_NODE),
        Mode::Explain(config) => explain::run(&mut io::stdout().lock(), &mut sink::note, &config),
        #[cfg(feature = "trace")]
        Mode::Probe(config) => probe::run(&config),
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
    sink::error(&format!("{error:#}"));
    ExitCode::FAILURE
}
