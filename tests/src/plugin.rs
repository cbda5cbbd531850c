//! Runs `kubectl whydrop` from a laptop at the edge of a lab.

use std::{
    env,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tracer_model::PathReport;

use crate::{
    apiserver::ApiServer,
    binary,
    machine::{self, Shared},
    poll_until,
    record::{self, Record},
    said::Said,
    tracer::Reaped,
};

/// A place with a kubeconfig, and the program under kubectl's name for it.
pub struct Laptop {
    directory: TempDir,
    kubeconfig: PathBuf,
}

impl Laptop {
    /// One whose kubeconfig is for this server.
    pub fn new(server: &ApiServer) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let kubeconfig = server.kubeconfig(directory.path())?;
        symlink(binary(), directory.path().join("kubectl-whydrop"))?;
        Ok(Self {
            directory,
            kubeconfig,
        })
    }

    /// The directory with the plugin.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The plugin, with its kubeconfig.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path().join("kubectl-whydrop"));
        self.complete(&mut command, arguments);
        command
    }

    fn complete(&self, command: &mut Command, arguments: &[&str]) {
        command
            .env_remove("KUBECONFIG")
            .env("HOME", "/nonexistent")
            .args(arguments)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Starts it, without questions and with JSON.
    pub fn start(&self, arguments: &[&str]) -> Result<Plugin> {
        Self::spawn(self.command(arguments))
    }

    /// The same as `kubectl whydrop`, by a real kubectl.
    pub fn start_by(&self, kubectl: &Path, arguments: &[&str]) -> Result<Plugin> {
        let mut command = Command::new(kubectl);
        let paths = env::var_os("PATH").unwrap_or_default();
        let paths = [self.path().to_owned()]
            .into_iter()
            .chain(env::split_paths(&paths));
        command.env("PATH", env::join_paths(paths)?).arg("whydrop");
        self.complete(&mut command, arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Result<Plugin> {
        let shared = machine::share();
        let mut child = Reaped::new(command.args(["--yes", "-o", "json"]).spawn()?);
        Ok(Plugin {
            stdout: Said::follow(child.0.stdout.take().context("piped")?),
            stderr: Said::follow(child.0.stderr.take().context("piped")?),
            child,
            _shared: shared,
        })
    }
}

/// A run of the plugin.
pub struct Plugin {
    child: Reaped,
    stdout: Said,
    stderr: Said,
    /// For its traces.
    _shared: Shared,
}

/// A run that is over.
pub struct Ended {
    /// Whether it says that all is well.
    pub success: bool,
    /// What came of it.
    pub paths: Vec<PathReport>,
    /// What it said beside that.
    pub stderr: String,
}

impl Plugin {
    /// Waits until it has said all of this on stderr.
    pub fn wait_for(&mut self, words: &[&str]) -> Result<()> {
        let mut over = None;
        let mut wait = || {
            poll_until(&format!("{words:?} from kubectl whydrop"), || {
                let said = self.stderr.so_far();
                if words.iter().all(|word| said.contains(word)) {
                    return Some(());
                }
                over = self.child.0.try_wait().ok().flatten();
                over.map(drop)
            })
        };
        // It asks a dozen questions, and then starts two traces.
        let said = wait().or_else(|_| wait()).or_else(|_| wait());
        let stderr = self.stderr.so_far();
        if said.is_err() || !words.iter().all(|word| stderr.contains(word)) {
            bail!("{words:?} did not come ({over:?}): {stderr}");
        }
        Ok(())
    }

    /// What it has said on stderr so far.
    pub fn said(&self) -> String {
        self.stderr.so_far()
    }

    /// Ctrl-C.
    pub fn interrupt(&self) -> Result<()> {
        Ok(kill(self.pid()?, Signal::SIGINT)?)
    }

    /// Kills it without a chance to clean up.
    pub fn kill(mut self) -> Result<()> {
        kill(self.pid()?, Signal::SIGKILL)?;
        self.child.wait("the killed plugin to go").map(drop)
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(self.child.0.id().try_into()?))
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Result<Ended> {
        let status = self.child.wait("kubectl whydrop to end");
        let status = status.with_context(|| self.stderr.so_far())?;
        let stderr = self.stderr.all();
        let mut paths = Vec::new();
        for line in self.stdout.all().lines() {
            match record::read(line)? {
                Record::Path(path) => paths.push(*path),
                other => bail!("no path: {other:?}"),
            }
        }
        Ok(Ended {
            success: status.success(),
            paths,
            stderr,
        })
    }

    /// Ctrl-C, and its end, which is in order.
    pub fn stop(self) -> Result<Ended> {
        self.interrupt()?;
        let ended = self.ended()?;
        ensure!(ended.success, "{}", ended.stderr);
        Ok(ended)
    }
}
