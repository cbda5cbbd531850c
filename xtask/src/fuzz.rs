//! `cargo xtask fuzz`: mutated input for every parser that reads untrusted data.

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{run, setup};

/// What the names of the targets begin with: they are tests of the library.
const PREFIX: &str = "fuzz_";

#[derive(Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Start of the names of targets (endpoint, kubeconfig, nft, …) [default: all targets]
    targets: Vec<String>,
}

/// Runs the targets.
///
/// # Errors
///
/// A target fails, or a name is that of none.
pub(crate) fn fuzz(options: &Options) -> Result<()> {
    setup::setup()?;
    let listed = run::output(&mut library_tests(&["--list"]))?;
    let chosen = chosen(&listed, &options.targets)?;
    let mut cargo = library_tests(&["--nocapture", "--exact"]);
    cargo
        .env("WHYDROP_FUZZ_SECONDS", options.seconds.to_string())
        .args(chosen);
    run::run(&mut cargo)
}

fn library_tests(options: &[&str]) -> std::process::Command {
    let mut cargo = run::cargo();
    cargo
        .args(["test", "--package", "whydrop", "--lib", "--"])
        .args(options);
    cargo
}

/// The paths of the wanted targets, of a list with lines such as `cli::tests::fuzz_endpoint: test`.
fn chosen<'a>(listed: &'a str, wanted: &[String]) -> Result<Vec<&'a str>> {
    let targets: Vec<(&str, &str)> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter_map(|path| Some((path, path.rsplit("::").next()?.strip_prefix(PREFIX)?)))
        .collect();
    let names = || {
        let names: Vec<&str> = targets.iter().map(|(_, name)| *name).collect();
        names.join(", ")
    };
    targets.first().context("the library has no targets")?;
    for start in wanted {
        if !targets.iter().any(|(_, name)| name.starts_with(start)) {
            bail!("unknown target {start}: there are {}", names());
        }
    }
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|one| name.starts_with(one));
    let chosen = targets.iter().filter(|(_, name)| is_wanted(name));
    Ok(chosen.map(|(path, _)| *path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "cli::tests::fuzz_endpoint: test\n\
                          node::ruleset::tests::fuzz_nft: test\n\
                          node::ruleset::tests::fuzz_nft_kernel: test\n\
                          node::ruleset::tests::nft_is_parsed: test\n\
                          \n\
                          4 tests, 0 benchmarks\n";

    fn names(wanted: &[&str]) -> Result<Vec<&'static str>> {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        chosen(LISTED, &wanted)
    }

    #[test]
    fn targets_are_chosen_by_the_start_of_their_names() {
        assert_eq!(names(&[]).unwrap().len(), 3);
        let nft = [
            "node::ruleset::tests::fuzz_nft",
            "node::ruleset::tests::fuzz_nft_kernel",
        ];
        assert_eq!(names(&["nft"]).unwrap(), nft);
        assert_eq!(names(&["endpoint", "nft"]).unwrap().len(), 3);
    }

    #[test]
    fn an_unknown_target_is_an_error_with_those_that_there_are() {
        let error = names(&["nft", "parsed"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown target parsed: there are endpoint, nft, nft_kernel"
        );
        assert!(chosen("", &[]).is_err());
    }
}
