//! Records what the tools print of the rulesets in `testdata/ruleset/cases`.

use std::{fs, path::Path, process::Command};

/// Loads what a source file says.
const LOADERS: [(&str, &str); 4] = [
    ("sets", "ipset restore"),
    ("nft", "nft -f -"),
    ("rules", "iptables-nft-restore -c"),
    ("sh", "sh -e"),
];

/// What is recorded, where a source file of this kind is there.
const RECORDERS: [(&str, &str, &str); 3] = [
    ("", "json", "nft -j list ruleset"),
    ("rules", "iptables", "iptables-nft-save -c"),
    ("sets", "ipset", "ipset list"),
];

/// `cargo test -p whydrop --lib records_the_cases -- --ignored`, as root. `ONLY=1a,7b` records these.
#[test]
#[ignore = "writes test data; needs root, nft, iptables-nft, ipset"]
fn records_the_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ruleset/cases");
    let only = std::env::var("ONLY").ok();
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            LOADERS
                .iter()
                .any(|(kind, _)| path.extension().is_some_and(|e| e == *kind))
        })
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| {
            only.as_ref()
                .is_none_or(|only| only.split(',').any(|one| one == name))
        })
        .collect();
    names.sort();
    names.dedup();
    for name in names {
        let source = |kind: &str| folder.join(format!("{name}.{kind}"));
        let mut script = "ip link set lo up
            for name in va vb; do
              ip link add $name type veth peer name ${name}-peer; ip link set $name up
            done
            ip addr add 10.30.1.1/24 dev va; ip addr add 10.30.2.1/24 dev vb\n"
            .to_owned();
        for (kind, loader) in LOADERS {
            if source(kind).exists() {
                script += &format!("{loader} < {}\n", source(kind).display());
            }
        }
        for (kind, to, recorder) in RECORDERS {
            if kind.is_empty() || source(kind).exists() {
                script += &format!("{recorder} | grep -v '^#' > {}\n", source(to).display());
            }
        }
        let status = Command::new("unshare")
            .args(["--net", "sh", "-e", "-c", &script])
            .status();
        assert!(status.unwrap().success(), "{name}");
    }
}
