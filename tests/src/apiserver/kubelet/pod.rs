//! A pod: a process in the namespaces of its node.

use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Image, log::Log};
use crate::binary;

pub(super) struct Pod {
    pub(super) object: Value,
    pub(super) node: String,
    pub(super) process: Option<Child>,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) log: Log,
    /// What is mounted in it.
    pub(super) volume: Option<TempDir>,
    /// It is to go once its process has ended.
    pub(super) is_deleted: bool,
}

impl Pod {
    pub(super) fn start(&mut self, namespaces: &[String], image: Option<Image>) -> Result<()> {
        let container = &self.object["spec"]["containers"][0];
        let arguments = container["args"].as_array().into_iter().flatten();
        let has_stdin = container["stdin"] == true;
        // What is started, with the directory of the volume in the place of its path.
        let words = container["command"].as_array().into_iter().flatten();
        let mut words: Vec<String> = words.filter_map(Value::as_str).map(str::to_owned).collect();
        let mount = &container["volumeMounts"][0]["mountPath"];
        if let Some(mount) = mount.as_str() {
            let volume = tempfile::tempdir()?;
            let place = format!("{}/", volume.path().display());
            for word in &mut words {
                *word = word.replace(&format!("{mount}/"), &place);
            }
            self.volume = Some(volume);
        }
        let mut command = match words.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
            None => Command::new(binary()),
        };
        if image == Some(Image::ShellOnly) {
            command.env("PATH", "/nonexistent");
        }
        for name in namespaces {
            command.args(["--netns", name]);
        }
        let mut process = command
            .args(arguments.filter_map(Value::as_str))
            // Without an attached client, it is open and silent.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        self.log.follow(process.stdout.take().context("piped")?);
        self.log.follow(process.stderr.take().context("piped")?);
        self.stdin = process.stdin.take().filter(|_| has_stdin);
        self.process = Some(process);
        self.object["status"] =
            json!({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]});
        Ok(())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
