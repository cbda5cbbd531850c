//! Small clusters in files, and one question to them.

use std::{fs, path::PathBuf};

use clap::Parser as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cli::{
        Cli,
        options::{Config, Mode},
    },
    command::explain::run,
    sink::Terminal,
};

/// Files of a cluster.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    made: TempDir,
}

impl Files {
    /// Files of the test data, by their names without `.yaml`; `base` is always among them.
    pub(super) fn of(names: &[&str]) -> Self {
        let path = |name: &&str| {
            let name = match name.contains('.') {
                true => (*name).to_owned(),
                false => format!("{name}.yaml"),
            };
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/policies");
            PathBuf::from(root).join(name)
        };
        Self {
            paths: ["base"].iter().chain(names).map(path).collect(),
            made: TempDir::new().unwrap(),
        }
    }

    /// None of the test data.
    pub(super) fn none() -> Self {
        Self {
            paths: Vec::new(),
            made: TempDir::new().unwrap(),
        }
    }

    /// One file more, with these bytes.
    pub(super) fn and(mut self, text: impl AsRef<[u8]>) -> Self {
        let path = self.made.path().join(format!("{}", self.paths.len()));
        let text = text.as_ref();
        // YAML that would be taken for JSON.
        let border: &[u8] = match text.starts_with(b"{a") {
            true => b"---\n",
            false => b"",
        };
        fs::write(&path, [border, text].concat()).unwrap();
        self.paths.push(path);
        self
    }

    /// What `whydrop explain` prints with these arguments.
    pub(super) fn print(&self, arguments: &str) -> Result<String, String> {
        let mut all = vec!["whydrop".to_owned(), "explain".to_owned()];
        for path in &self.paths {
            all.extend(["--cluster".to_owned(), path.display().to_string()]);
        }
        all.extend(arguments.split_whitespace().map(str::to_owned));
        let cli = Cli::try_parse_from(all).map_err(|error| error.to_string())?;
        let config = Config::new(cli, &Terminal::none()).map_err(|error| error.to_string())?;
        let Mode::Explain(config) = config.mode else {
            return Err("not an explanation".to_owned());
        };
        let mut out = Vec::new();
        run(&mut out, &mut |_: &str| {}, &config).map_err(|error| format!("{error:#}"))?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// Its JSON.
    pub(super) fn answer(&self, arguments: &str) -> Value {
        let text = self.print(&format!("{arguments} -o json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Whether the flow passes.
    pub(super) fn allowed(&self, from: &str, to: &str) -> Option<bool> {
        self.answer(&format!("--from {from} --to {to}"))["allowed"].as_bool()
    }
}

/// All warnings of an answer.
pub(super) fn warnings(answer: &Value) -> String {
    let warnings = answer["warnings"].as_array().unwrap().iter();
    let texts: Vec<_> = warnings.filter_map(Value::as_str).collect();
    texts.join("\n")
}
