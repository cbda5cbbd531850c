//! Which whydrop is tested: the one that cargo has built beside the tests, from the sources as they
//! are now. Nothing here builds it: a test that started cargo would wait for the lock of the cargo
//! that started the test.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

/// The binary under test: `WHYDROP_BIN`, or the one built beside the running executable.
///
/// # Panics
///
/// Panics if the binary is missing or older than its sources; the message has the command that
/// builds it.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<Result<PathBuf>> = OnceLock::new();
    match BINARY.get_or_init(find) {
        Ok(path) => path,
        Err(error) => panic!("{error:#}"),
    }
}

fn find() -> Result<PathBuf> {
    if let Some(path) = env::var_os("WHYDROP_BIN") {
        return Ok(path.into());
    }
    let executable = env::current_exe()?;
    let mut directory = executable
        .parent()
        .context("an executable has a directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().context("deps is inside a profile")?;
    }
    let release = if directory.ends_with("release") {
        " --release"
    } else {
        ""
    };
    let path = directory.join("whydrop");
    current(&path).with_context(|| {
        format!(
            "the tests run {}, which has to be built first: `cargo build{release} -p whydrop`, or \
             name another one in WHYDROP_BIN",
            path.display()
        )
    })?;
    Ok(path)
}

/// Fails if a program is missing or older than a source that cargo has noted beside it.
fn current(program: &Path) -> Result<()> {
    let built = match modified(program) {
        Ok(built) => built,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("it is missing"),
        Err(error) => return Err(error.into()),
    };
    // Cargo writes it beside every program.
    let sources = fs::read_to_string(program.with_extension("d"))?;
    for source in sources_in(&sources) {
        if let Some(newer) = newer(&source, built)? {
            bail!("it is older than {}", newer.display());
        }
    }
    Ok(())
}

/// The sources that a line `program: source source` names, which has `\ ` for a space in a name.
fn sources_in(line: &str) -> Vec<PathBuf> {
    let sources = line.split_once(": ").map_or("", |(_, sources)| sources);
    let separated = sources.trim_end().replace("\\ ", "\0");
    let names = separated.split(' ').filter(|name| !name.is_empty());
    names.map(|name| name.replace('\0', " ").into()).collect()
}

/// The source, or something below it if it is a directory, that has changed since then, or is gone.
fn newer(source: &Path, built: SystemTime) -> io::Result<Option<PathBuf>> {
    if source.is_dir() {
        for entry in fs::read_dir(source)? {
            if let Some(newer) = newer(&entry?.path(), built)? {
                return Ok(Some(newer));
            }
        }
        return Ok(None);
    }
    let is_newer = modified(source).map_or(true, |modified| modified > built);
    Ok(is_newer.then(|| source.to_owned()))
}

fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

#[test]
fn a_program_without_its_latest_source_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [program, sources, source] =
        ["whydrop", "whydrop.d", "a source/lib.rs"].map(|name| directory.path().join(name));
    let said = || format!("{:#}", current(&program).expect_err("it is not current"));
    assert_eq!(said(), "it is missing");

    fs::create_dir(source.parent().context("a directory")?)?;
    fs::write(&source, "")?;
    fs::write(&program, "")?;
    let escaped = directory.path().join("a\\ source");
    fs::write(&sources, format!("whydrop: {}\n", escaped.display()))?;
    let later = modified(&source)? + std::time::Duration::from_secs(1);
    fs::File::options()
        .write(true)
        .open(&program)?
        .set_modified(later)?;
    current(&program)?;

    let latest = later + std::time::Duration::from_secs(1);
    fs::File::options()
        .write(true)
        .open(&source)?
        .set_modified(latest)?;
    assert_eq!(said(), format!("it is older than {}", source.display()));
    Ok(())
}
