//! One table of iptables-nft, by its own tool: by `iptables-nft -S -v`, which is brought to the form of
//! `iptables-save -c`.
//!
//! For one table, `iptables-nft-save` asks the kernel for all rules of all tables, and looks at its
//! own; the listing asks for those of the one.

use std::{sync::OnceLock, time::Instant};

use super::{
    command::{Failure, run},
    iptables,
    model::{Backend, Family, Table},
};

/// A table of iptables-nft, by its own tool; `None` where the tool does not have it.
pub(super) fn by_iptables(
    family: Family,
    name: &str,
    deadline: Instant,
) -> Result<Option<Table>, String> {
    let tool = match family {
        Family::Ip6 => "ip6tables-nft",
        _ => "iptables-nft",
    };
    if lists_one_table_here(tool, deadline) {
        return match run(tool, &["-t", name, "-S", "-v"], deadline) {
            Ok(text) => Ok(iptables::parse_listing(name, &text, family)),
            // It has rules of nft's.
            Err(Failure::Because(reason)) if reason.contains("incompatible") => Ok(None),
            Err(failure) => Err(failure.of_iptables(tool, family, name)),
        };
    }
    let tool = format!("{tool}-save");
    match run(&tool, &["-c", "-t", name], deadline) {
        Ok(text) => {
            let tables = iptables::parse(&text, Backend::Nft, family);
            Ok(tables.into_iter().find(|table| table.name == name))
        }
        Err(failure) => Err(failure.of_iptables(&tool, family, name)),
    }
}

/// Shows a table that iptables-nft made as its own tool does. Returns what keeps from it: then it stays
/// as nft shows it.
pub(super) fn refine(table: &mut Table, shown: Result<Option<Table>, String>) -> Option<String> {
    let refined = match shown {
        Ok(Some(by_iptables)) => iptables::refine(table, &[by_iptables]),
        // It has rules of nft's, which its own tool does not show.
        Ok(None) if !table.has_opaque_rules() => Ok(()),
        Ok(None) => Err(iptables::differs(table)),
        Err(reason) => Err(reason),
    };
    if refined.is_err() {
        table.name_opaque_rules();
    }
    refined.err()
}

fn lists_one_table_here(tool: &str, deadline: Instant) -> bool {
    static IS_FIT: OnceLock<bool> = OnceLock::new();
    if let Some(known) = IS_FIT.get() {
        return *known;
    }
    run(tool, &["-V"], deadline)
        .is_ok_and(|version| *IS_FIT.get_or_init(|| lists_one_table(&version)))
}

/// The same as `iptables-save -c` prints it.
pub(super) fn as_saved<'a>(table: &str, lines: impl Iterator<Item = &'a str>) -> String {
    let mut text = format!("*{table}\n");
    for line in lines {
        let (line, counter) = without_counter(line);
        let line = match line.split_once(' ') {
            Some(("-P", policy)) => format!(":{policy} {counter}"),
            Some(("-N", name)) => format!(":{name} - {counter}"),
            _ => format!("{counter} {line}"),
        };
        text += &line;
        text.push('\n');
    }
    text
}

/// `-A INPUT -p tcp -c 60 45537 -j DROP` in two: the rule, and `[60:45537]`. No match has an option
/// `-c`; quoted words may say anything.
fn without_counter(line: &str) -> (String, String) {
    let mut found = None;
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, letter) in line.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted && line[at..].starts_with(" -c ") => {
                found = Some(at);
                break;
            }
            _ => {}
        }
    }
    let counted = found.and_then(|at| {
        let mut words = line[at..].splitn(5, ' ').skip(2);
        let (packets, bytes) = (words.next()?, words.next()?);
        let rest = words.next().map(|rest| format!(" {rest}"));
        let rule = format!("{}{}", &line[..at], rest.unwrap_or_default());
        Some((rule, format!("[{packets}:{bytes}]")))
    });
    counted.unwrap_or_else(|| (line.to_owned(), "[0:0]".to_owned()))
}

/// Whether a version of iptables-nft, as it prints it, can list one table and makes none by that.
fn lists_one_table(version: &str) -> bool {
    let number = version.split(" v").nth(1).unwrap_or_default();
    let mut parts = number.split(['.', ' ']).map_while(|part| part.parse().ok());
    let version: [u32; 3] = std::array::from_fn(|_| parts.next().unwrap_or(0));
    version >= [1, 8, 5]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_to_the_front() {
        let listed = [
            "-P INPUT DROP -c 7 420",
            "-N odd",
            "-A INPUT -p tcp -m comment --comment \"a \\\" -c 1 2 -j ACCEPT\" -c 3 180 -j DROP",
            "-A odd -c 60 45537",
            "-A odd -j LOG",
        ];
        let saved = "*filter\n\
            :INPUT DROP [7:420]\n\
            :odd - [0:0]\n\
            [3:180] -A INPUT -p tcp -m comment --comment \"a \\\" -c 1 2 -j ACCEPT\" -j DROP\n\
            [60:45537] -A odd\n\
            [0:0] -A odd -j LOG\n";
        assert_eq!(as_saved("filter", listed.into_iter()), saved);
    }

    #[test]
    fn old_versions_make_tables() {
        for (version, is_fit) in [
            ("iptables v1.8.9 (nf_tables)\n", true),
            ("ip6tables v1.8.10 (nf_tables)", true),
            ("iptables v1.8.5 (nf_tables)", true),
            ("iptables v1.8.2 (nf_tables)", false),
            ("iptables v2.0 (nf_tables)", true),
            ("", false),
        ] {
            assert_eq!(lists_one_table(version), is_fit, "{version}");
        }
    }
}
