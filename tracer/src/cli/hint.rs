//! What a command line that is not understood was probably meant to say.

use std::ffi::OsString;

use clap::{
    CommandFactory as _, Error,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;

/// Options that people know from other tools, and what stands for them here.
const ELSEWHERE: [(&[&str], &str); 6] = [
    (
        &[
            "--to",
            "--dst",
            "--dest",
            "--destination",
            "--host",
            "--target",
        ],
        "the destination needs no option: 'whydrop 10.244.3.17:443'",
    ),
    (
        &["--port", "--dport", "-p"],
        "a port is part of an endpoint: 'whydrop :443'",
    ),
    (
        &["--src", "--source", "--client", "--peer"],
        "the other end is '--from ENDPOINT'",
    ),
    (
        &["--namespace", "-n"],
        "a pod is 'NAMESPACE/NAME'; a network namespace is '--netns NAME'",
    ),
    (
        &["--interface", "--iface", "-i"],
        "all interfaces are watched; '--netns NAME' restricts a trace to those of a network namespace",
    ),
    (&["--json", "--format"], "'-o json' prints JSON"),
];
/// For any other option.
const OPTIONS: &str =
    "'--from', '--proto' and '--netns' restrict a trace; '--duration' and '--count' end it";

/// The error with a hint, or without a misleading one.
pub(super) fn hinted(mut error: Error, arguments: &[OsString]) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let tip = match error.kind() {
        ErrorKind::ValueValidation => {
            let value = text(ContextKind::InvalidValue).unwrap_or_default();
            match subcommand_like(&value) {
                Some(name) if name != value => {
                    let names = ContextValue::Strings(vec![name]);
                    error.insert(ContextKind::SuggestedSubcommand, names);
                    None
                }
                // Of a subcommand behind options, the error itself says what to do.
                _ => None,
            }
        }
        ErrorKind::ArgumentConflict => {
            text(ContextKind::InvalidSubcommand).map(|second| two_ends(&second, arguments))
        }
        ErrorKind::UnknownArgument => {
            let option = text(ContextKind::InvalidArg).filter(|it| it.starts_with('-'));
            let Some(option) = option else { return error };
            // clap proposes to pass it as a value, which no endpoint looks like.
            error.remove(ContextKind::Suggested);
            if !is_trace(arguments) {
                return error;
            }
            let mut known = ELSEWHERE.iter();
            match known.find(|(names, _)| names.contains(&option.as_str())) {
                Some((_, tip)) => {
                    error.remove(ContextKind::SuggestedArg);
                    Some((*tip).to_owned())
                }
                None if error.get(ContextKind::SuggestedArg).is_some() => None,
                None => Some(OPTIONS.to_owned()),
            }
        }
        _ => None,
    };
    if let Some(tip) = tip {
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// The subcommands that the help lists.
fn subcommands() -> Vec<String> {
    let command = Cli::command();
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    shown.map(|one| one.get_name().to_owned()).collect()
}

/// Whether no subcommand is named.
fn is_trace(arguments: &[OsString]) -> bool {
    let subcommands = subcommands();
    let mut named = arguments.iter().skip(1).filter_map(|one| one.to_str());
    !named.any(|one| subcommands.iter().any(|name| name == one))
}

/// The subcommand that this is a slip of.
fn subcommand_like(text: &str) -> Option<String> {
    let slip = |name: &String| strsim::damerau_levenshtein(name, text) <= 2;
    subcommands().into_iter().find(slip)
}

/// For a second argument, where a trace takes one.
fn two_ends(second: &str, arguments: &[OsString]) -> String {
    let ends = match arguments {
        [_, first, last] if last == second => first.to_str(),
        _ => None,
    };
    match ends {
        Some(first) => {
            format!("to trace connections from one to the other: 'whydrop {second} --from {first}'")
        }
        None => "a trace has one destination; '--from ENDPOINT' names the other end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(arguments: &[&str]) -> Vec<String> {
        let all = ["whydrop"].iter().chain(arguments).map(OsString::from);
        let error = Cli::read(all).expect_err("a wrong command line");
        let text = error.to_string();
        let lines = text.lines().map(str::trim);
        let tips = lines.filter_map(|line| line.strip_prefix("tip: "));
        tips.map(str::to_owned).collect()
    }

    #[test]
    fn two_ends_are_a_destination_and_its_peer() {
        assert_eq!(
            tip(&["10.0.0.1", "10.0.0.2:80"]),
            ["to trace connections from one to the other: 'whydrop 10.0.0.2:80 --from 10.0.0.1'"]
        );
        assert_eq!(
            tip(&["--noise", "10.0.0.1", "10.0.0.2:80"]),
            ["a trace has one destination; '--from ENDPOINT' names the other end"]
        );
        assert_eq!(tip(&["--noise", "check"]), [""; 0]);
    }

    #[test]
    fn a_slip_of_a_subcommand_is_recognized() {
        assert_eq!(tip(&["chekc"]), ["a similar subcommand exists: 'check'"]);
        assert_eq!(
            tip(&["explian"]),
            ["a similar subcommand exists: 'explain'"]
        );
        assert_eq!(tip(&["webserver"]), [""; 0]);
    }

    #[test]
    fn an_unknown_option_leads_to_known_ones() {
        assert_eq!(tip(&["--bogus"]), [OPTIONS]);
        assert_eq!(
            tip(&["--port", "443"]),
            ["a port is part of an endpoint: 'whydrop :443'"]
        );
        assert_eq!(
            tip(&["--prot", "tcp"]),
            ["a similar argument exists: '--proto'"]
        );
        // Of a subcommand, other options are meant.
        assert_eq!(tip(&["probe", "--bogus"]), [""; 0]);
    }
}
