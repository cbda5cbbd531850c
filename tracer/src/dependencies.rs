//! Which module may know which: held by reading the source, as the compiler cannot.

use std::{fs, path::Path};

/// A source file without its unit tests.
struct Source {
    /// Its path below `src`, with slashes; what is in the crate `tracer-model` is below `model`.
    path: String,
    text: String,
}

/// All product code above the kernel programs.
fn sources() -> Vec<Source> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = sources_below(&here.join("src"));
    let model = sources_below(&here.join("../tracer-model/src"));
    sources.extend(model.into_iter().map(|source| Source {
        path: format!("model/{}", source.path),
        ..source
    }));
    sources
}

fn sources_below(root: &Path) -> Vec<Source> {
    let mut directories = vec![root.to_owned()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if !is_test(root, &path) {
                sources.push(Source::read(root, &path));
            }
        }
    }
    sources
}

/// Whether a file is compiled for tests only, by its name.
fn is_test(root: &Path, path: &Path) -> bool {
    const ONLY_TESTS: [&str; 11] = [
        "tests",
        "tests.rs",
        "fixtures",
        "fixtures.rs",
        "properties.rs",
        "damage.rs",
        "fuzz.rs",
        "limits_table.rs",
        "reason_coverage.rs",
        "treatment.rs",
        "dependencies.rs",
    ];
    let below = path.strip_prefix(root).expect("below src");
    let mut parts = below.iter().filter_map(|part| part.to_str());
    parts.any(|part| ONLY_TESTS.contains(&part)) || path.extension().is_none_or(|kind| kind != "rs")
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("source");
        let code = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
        let below = path.strip_prefix(root).expect("below src");
        let is_comment = |line: &&str| line.trim_start().starts_with("//");
        Self {
            path: below.to_str().expect("UTF-8").to_owned(),
            text: code
                .lines()
                .filter(|line| !is_comment(line))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    fn is_in(&self, modules: &[&str]) -> bool {
        modules.iter().any(|module| {
            let rest = self.path.strip_prefix(module);
            rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        })
    }

    /// The modules of this crate that it names, as `a::b::c`.
    fn imports(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (at, _) in self.text.match_indices("crate::") {
            expand("", &self.text[at + "crate::".len()..], &mut found);
        }
        found
    }

    fn mentions(&self, words: &[&str]) -> Option<String> {
        let mut found = words.iter().filter(|word| self.text.contains(**word));
        found.next().map(|word| (*word).to_owned())
    }
}

/// Adds the paths that a use tree begins with; gives what follows it.
fn expand<'t>(prefix: &str, tree: &'t str, found: &mut Vec<String>) -> &'t str {
    let tree = tree.trim_start();
    if let Some(mut rest) = tree.strip_prefix('{') {
        loop {
            rest = expand(prefix, rest, found).trim_start();
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = tree.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '*')));
    let (name, rest) = tree.split_at(end.unwrap_or(tree.len()));
    let path = match prefix {
        "" => name.to_owned(),
        _ => format!("{prefix}::{name}"),
    };
    match rest.strip_prefix("::") {
        Some(rest) => expand(&path, rest, found),
        None => {
            if !name.is_empty() {
                found.push(path);
            }
            match rest.trim_start().strip_prefix("as ") {
                Some(alias) => alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
                None => rest,
            }
        }
    }
}

/// The files that violate a rule, each with what it does.
fn offenders(offense: impl Fn(&Source) -> Option<String>) -> Vec<String> {
    let sources = sources();
    assert!(sources.len() > 100, "{} files", sources.len());
    let found = sources
        .iter()
        .filter_map(|source| Some(format!("{}: {}", source.path, offense(source)?)));
    found.collect()
}

fn imports_of(source: &Source, module: &str) -> Option<String> {
    let mut imports = source.imports().into_iter();
    imports.find(|path| {
        let rest = path.strip_prefix(module);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

const NONE: [String; 0] = [];

#[test]
fn use_trees_are_read() {
    let mut found = Vec::new();
    let tree = "{a::{self, b as c, d::E}, f, g::*};";
    assert_eq!(expand("", tree, &mut found), ";");
    assert_eq!(found, ["a::self", "a::b", "a::d::E", "f", "g::*"]);
}

#[test]
fn the_model_knows_json_in_its_records_only() {
    let found = offenders(|source| {
        let is_asked = source.is_in(&["model"]) && !source.is_in(&["model/record"]);
        source
            .mentions(&["serde", "humantime", "crate::record"])
            .filter(|_| is_asked)
    });
    assert_eq!(found, NONE);
}

/// Everything else says `crate::model`, so that the other rules see it.
#[test]
fn the_model_is_named_in_one_place() {
    let found = offenders(|source| {
        source
            .mentions(&["tracer_model"])
            .filter(|_| source.path != "lib.rs")
    });
    assert_eq!(found, NONE);
}

#[test]
fn json_is_known_to_what_reports_only() {
    let found = offenders(|source| {
        let json = ["report::record", "model::record"];
        let mut imports = json.iter().filter_map(|module| imports_of(source, module));
        imports
            .next()
            .filter(|_| !source.is_in(&["report", "sink", "command"]))
    });
    assert_eq!(found, NONE);
}

#[test]
fn nothing_imports_a_command() {
    let found =
        offenders(|source| imports_of(source, "command").filter(|_| !source.is_in(&["command"])));
    assert_eq!(found, NONE);
}

#[test]
fn what_judges_does_no_io_and_reads_no_clock() {
    const PURE: [&str; 6] = ["model", "decode", "attempt", "engine", "verdict", "policy"];
    const IO: [&str; 14] = [
        "std::fs",
        "fs::",
        "std::io",
        "std::process",
        "std::thread",
        "tokio",
        "libc::",
        "nix::",
        "Instant::now",
        "SystemTime::now",
        "monotonic_nanos",
        "TcpStream",
        "UdpSocket",
        "std::env",
    ];
    let found = offenders(|source| source.mentions(&IO).filter(|_| source.is_in(&PURE)));
    assert_eq!(found, NONE);
}

/// What a probe sends is in its plan before; only one place can send anything.
#[test]
fn only_one_module_sends_packets() {
    const SOCKETS: [&str; 6] = [
        "socket2",
        "TcpStream",
        "TcpSocket",
        "UdpSocket",
        "tokio_rustls",
        "recvmsg",
    ];
    // Other sockets are those to the API server and the container runtime, and of netlink.
    let found = offenders(|source| {
        let asks = source.is_in(&["probe", "command", "engine", "verdict", "node"]);
        let sends = source.mentions(&SOCKETS);
        sends.filter(|_| asks && !source.is_in(&["probe/send"]))
    });
    assert_eq!(found, NONE);
}

#[test]
fn the_engine_knows_neither_the_kernel_nor_the_terminal() {
    let found = offenders(|source| {
        let outside = ["kernel", "sink", "net::watch"];
        let mut imports = outside
            .iter()
            .filter_map(|module| imports_of(source, module));
        imports
            .next()
            .filter(|_| source.is_in(&["engine", "attempt"]))
    });
    assert_eq!(found, NONE);
}

/// What a drop or an attempt costs is counted where it is done (`engine/work`). Done elsewhere, it
/// would not be counted.
#[test]
fn what_is_counted_is_done_in_one_place() {
    const COUNTED: [(&str, &str); 6] = [
        ("noise::explain(", "engine/drops/judge.rs"),
        ("drop::is_noise(", "engine/drops/judge.rs"),
        ("drop::judge(", "engine/drops/judge.rs"),
        ("judge::judge(", "engine/attempts/outcomes.rs"),
        ("cluster.name(", "engine/cluster_context.rs"),
        (".owner_of(", "engine/attempts/dropped.rs"),
    ];
    for (call, place) in COUNTED {
        // A command that completes the records of other traces is not a trace's work.
        let found = offenders(|source| {
            let mentioned = source.mentions(&[call]);
            mentioned.filter(|_| !source.is_in(&["command"]))
        });
        let expected = format!("{place}: {call}");
        assert_eq!(found, [expected]);
    }
}

#[test]
fn only_the_probes_know_aya_and_only_net_knows_netlink() {
    let found = offenders(|source| {
        let aya = source.mentions(&["aya::", "aya_log::"]);
        let netlink = source.mentions(&["netlink_packet", "netlink_sys"]);
        let aya = aya.filter(|_| !source.is_in(&["kernel/probes"]));
        aya.or(netlink.filter(|_| !source.is_in(&["net"])))
    });
    assert_eq!(found, NONE);
}

#[test]
fn only_sinks_write_to_the_terminal() {
    const WRITES: [&str; 3] = ["println!(", "print!(", "dbg!("];
    // The error that ends the program, and what `--debug` shows.
    const OTHERS: [&str; 2] = ["command/mod.rs", "command/log.rs"];
    let found = offenders(|source| {
        let is_elsewhere = !source.is_in(&["sink"]) && !OTHERS.contains(&source.path.as_str());
        source.mentions(&WRITES).filter(|_| is_elsewhere)
    });
    assert_eq!(found, NONE);
}
