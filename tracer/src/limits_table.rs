//! The table of limits in `docs/security.md`, made of the constants that are in force.

use std::{fmt::Write as _, fs};

use crate::{
    cluster::{
        dump::{LARGEST_JSON, LARGEST_YAML},
        source::limits as source,
    },
    kernel::{
        budget::{self, Budget},
        probes::MEMBERS,
    },
    node::ruleset::MOST_OUTPUT,
    policy::MISSES,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/security.md");
const BEGIN: &str = "<!-- limits -->\n";
const END: &str = "<!-- /limits -->";

fn bytes(count: u64) -> String {
    match count {
        _ if count.is_multiple_of(1 << 30) => format!("{} GiB", count >> 30),
        _ if count.is_multiple_of(1 << 20) => format!("{} MiB", count >> 20),
        _ => format!("{} KiB", count >> 10),
    }
}

fn number(count: usize) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    }
}

fn table() -> String {
    let size = |count: usize| bytes(count as u64);
    let default = Budget::of(budget::DEFAULT);
    let rows = [
        ("a page of a list", size(source::PAGE)),
        ("an event of a watch", size(source::LINE)),
        ("the body of an error", size(source::ERROR)),
        ("pages of a list", number(source::PAGES)),
        (
            "objects of one source, as kept in memory",
            size(source::HELD),
        ),
        (
            "updates that wait to be read; then the source waits",
            number(source::UPDATES),
        ),
        (
            "an answer of the container runtime",
            size(source::CRI_ANSWER),
        ),
        ("pods of the container runtime", number(source::SANDBOXES)),
        (
            "a kubeconfig, and each file that it names",
            bytes(source::KUBECONFIG),
        ),
        (
            "the output of a credential plugin",
            size(source::PLUGIN_OUTPUT),
        ),
        ("a file of `--cluster`, JSON", bytes(LARGEST_JSON)),
        ("a file of `--cluster`, YAML", size(LARGEST_YAML)),
        ("notes of one source", number(source::NOTES)),
        ("characters of a note", number(source::NOTE)),
        (
            "the output of `nft`, `iptables-save` and the like",
            bytes(MOST_OUTPUT),
        ),
        (
            "maps and tables together, without `--memory` and with enough of it",
            bytes(budget::DEFAULT),
        ),
        ("attempts followed at once then", number(default.attempts)),
        (
            "handshakes held in the kernel at once then, until they fail",
            number(default.held as usize),
        ),
        (
            "kinds of drops counted at once then",
            number(default.drop_kinds as usize),
        ),
        (
            "addresses and ports behind the names of a filter",
            number(MEMBERS as usize),
        ),
        (
            "near misses of policies in a record; the others are counted",
            number(MISSES),
        ),
    ];
    let mut text = "| what | limit |\n|---|---|\n".to_owned();
    for (what, limit) in rows {
        let _ = writeln!(text, "| {what} | {limit} |");
    }
    text
}

#[test]
fn the_document_has_the_limits_that_are_in_force() {
    let written = fs::read_to_string(PATH).unwrap();
    let (head, rest) = written.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let right = [head, BEGIN, &table(), END, tail].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PATH, &right).unwrap();
        return;
    }
    assert!(
        written == right,
        "docs/security.md differs from the limits: run this with UPDATE_DOCS=1"
    );
}
