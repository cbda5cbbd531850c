//! Puts options in front of a subcommand behind it.
//!
//! `whydrop --color never check` is what people type; clap takes options in front of a subcommand
//! for those of a trace, which a subcommand excludes.

use std::ffi::{OsStr, OsString};

/// The subcommands.
const SUBCOMMANDS: [&str; 2] = ["check", "explain"];
/// Options that subcommands have as well, and that are followed by a value.
const WITH_VALUE: [&str; 6] = [
    "--color",
    "-o",
    "--output",
    "--kubeconfig",
    "--cri-socket",
    "--cluster",
];
/// The same without a value.
const PLAIN: [&str; 1] = ["--no-kube"];

/// The arguments, the program's name first, with such options behind the subcommand.
pub(crate) fn arranged(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = arguments.collect();
    let Some(at) = subcommand(&all) else {
        return all;
    };
    // The program's name stays, then the subcommand, then what stood in front of it.
    all[1..=at].rotate_right(1);
    all
}

/// Where the subcommand is, if nothing but such options stands in front of it.
fn subcommand(all: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(argument) = all.get(at) {
        if SUBCOMMANDS.iter().any(|name| argument == OsStr::new(name)) {
            return Some(at);
        }
        let text = argument.to_str()?;
        let has_value_inside = WITH_VALUE.iter().any(|name| {
            text.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('='))
        });
        at += if WITH_VALUE.contains(&text) {
            2
        } else if PLAIN.contains(&text) || has_value_inside {
            1
        } else {
            return None;
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrange(line: &str) -> String {
        let words = line.split(' ').map(OsString::from);
        let all = arranged(words);
        all.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn global_options_may_stand_in_front() {
        assert_eq!(
            arrange("whydrop --color never -o json check"),
            "whydrop check --color never -o json"
        );
        assert_eq!(
            arrange("whydrop --output=json explain --from a/b"),
            "whydrop explain --output=json --from a/b"
        );
        assert_eq!(
            arrange("whydrop --no-kube --kubeconfig k check"),
            "whydrop check --no-kube --kubeconfig k"
        );
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for line in [
            "whydrop",
            "whydrop check --color never",
            "whydrop 10.0.0.1 --color never",
            // An option of a trace alone, and the value of an option.
            "whydrop --all check",
            "whydrop --color check",
            "whydrop --cluster check.json",
        ] {
            assert_eq!(arrange(line), line);
        }
    }
}
