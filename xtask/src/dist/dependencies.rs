//! What whydrop is made of: an SBOM, and the licenses of all of it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    archive::{File, sha256},
    release::{Release, said},
};
use crate::run;

/// The licenses of the C library that is linked statically, as Debian has them.
const C_LIBRARY: [&str; 2] = [
    "/usr/share/doc/libc6/copyright",
    "/usr/share/common-licenses/LGPL-2.1",
];

/// The file with the notices of Rust's standard library.
const STD_NOTICES: &str = "COPYRIGHT-library.html";

/// A crate that is linked into the program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dependency {
    name: String,
    version: String,
    license: String,
    /// Where it is from; `None` for a part of whydrop.
    source: Option<String>,
    manifest: String,
}

/// All crates that are linked: neither those of tests nor those that only run at build time.
pub(super) fn linked(triple: &str) -> Result<BTreeSet<Dependency>> {
    // The kernel programs are part of the program, and no dependency of its.
    let tree = tree("whydrop", triple)? + &tree("tracer-ebpf", "all")?;
    let wanted: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    let mut metadata = run::cargo();
    metadata.args(["metadata", "--locked", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&said(&mut metadata)?)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dependencies = packages
        .map(|package| Dependency {
            name: text(&package["name"]),
            version: text(&package["version"]),
            license: text(&package["license"]),
            source: package["source"].as_str().map(str::to_owned),
            manifest: text(&package["manifest_path"]),
        })
        .filter(|one| wanted.contains(&(one.name.as_str(), one.version.as_str())));
    Ok(dependencies.collect())
}

/// What a package is linked with, a line each.
fn tree(package: &str, target: &str) -> Result<String> {
    let mut tree = run::cargo();
    tree.args(["tree", "--locked", "--package", package, "--target", target])
        .args(["--edges", "normal,no-proc-macro"])
        .args(["--prefix", "none", "--format", "{p}"]);
    said(&mut tree)
}

/// The SBOM (CycloneDX 1.6) of a program.
pub(super) fn sbom(
    release: &Release,
    program: &[u8],
    dependencies: &BTreeSet<Dependency>,
) -> Result<String> {
    let components = dependencies.iter().filter(|one| one.name != "whydrop");
    let components: Vec<Value> = components
        .map(|one| {
            let purl = format!("pkg:cargo/{}@{}", one.name, one.version);
            let mut component = json!({
                "type": "library",
                "bom-ref": purl,
                "name": one.name,
                "version": one.version,
                "licenses": [{"expression": one.license.replace('/', " OR ")}],
            });
            if one.source.is_some() {
                component["purl"] = purl.into();
            }
            component
        })
        .collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": release.rfc3339(),
            "component": {
                "type": "application",
                "bom-ref": "whydrop",
                "name": "whydrop",
                "version": release.version,
                "licenses": [{"expression": super::release::LICENSES}],
                "hashes": [{"alg": "SHA-256", "content": sha256(program)}],
            },
        },
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The texts, each once, with all crates that it is of, and those of the C library.
pub(super) fn licenses(release: &Release, dependencies: &BTreeSet<Dependency>) -> Result<String> {
    let mut text = format!(
        "whydrop {} is linked with the crates below. These are their licenses.\n",
        release.version
    );
    let mut texts: Vec<(String, Vec<String>)> = Vec::new();
    for one in dependencies.iter().filter(|one| one.source.is_some()) {
        let name = format!("{} {}", one.name, one.version);
        text += &format!("{name}: {}\n", one.license);
        let directory = Path::new(&one.manifest).parent().context("a directory")?;
        for found in license_files(directory)? {
            match texts.iter_mut().find(|(known, _)| *known == found) {
                Some((_, names)) => names.push(name.clone()),
                None => texts.push((found, vec![name.clone()])),
            }
        }
    }
    for path in C_LIBRARY {
        if let Ok(license) = fs::read_to_string(path) {
            texts.push((license, vec![format!("the GNU C library ({path})")]));
        }
    }
    for (license, names) in texts {
        text += &format!("\n==== {}\n\n{}\n", names.join(", "), license.trim());
    }
    Ok(text)
}

fn license_files(directory: &Path) -> Result<Vec<String>> {
    const NAMES: [&str; 6] = [
        "license",
        "licence",
        "copying",
        "copyright",
        "notice",
        "unlicense",
    ];
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        if path.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            paths.push(path);
        }
    }
    paths.sort();
    let texts = paths.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    Ok(texts
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).replace("\r\n", "\n"))
        .collect())
}

/// The copyright notices of Rust's standard library, if the compiler brings them.
pub(super) fn standard_library() -> Result<Option<File>> {
    let notices = fs::read(standard_library_notices()?);
    Ok(notices.ok().map(|bytes| File::plain(STD_NOTICES, bytes)))
}

/// The licenses of what is linked that this machine lacks.
pub(super) fn missing_licenses() -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = C_LIBRARY.iter().map(PathBuf::from).collect();
    paths.push(standard_library_notices()?);
    paths.retain(|path| !path.is_file());
    Ok(paths)
}

fn standard_library_notices() -> Result<PathBuf> {
    let sysroot = said(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim())
        .join("share/doc/rust")
        .join(STD_NOTICES))
}
