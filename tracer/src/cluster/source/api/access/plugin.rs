//! The program that a kubeconfig names for credentials: it is run with limits, and nothing that it
//! prints is shown.

use std::{
    process::{ExitStatus, Stdio},
    sync::Mutex,
    time::{Duration, SystemTime},
};

use kube::config::{ExecConfig, ExecInteractiveMode};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    time::timeout,
};

use crate::cluster::{dump, item::printable, source::limits::PLUGIN_OUTPUT};

/// How long it may take. It may ask a server of its own.
const LIMIT: Duration = Duration::from_secs(10);

/// Credentials that were printed.
pub(super) struct Issued {
    pub(super) token: Option<String>,
    /// Certificate and key, as PEM.
    pub(super) certificate: Option<(String, String)>,
    pub(super) expires: Option<SystemTime>,
}

/// Whether it can be a bearer token: one printable word.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Runs the program. What is wrong with it is said without its arguments and its output.
pub(super) async fn run(exec: &ExecConfig) -> Result<Issued, String> {
    let program = exec.command.as_deref().unwrap_or_default();
    let name = program.rsplit('/').next().unwrap_or_default();
    let about = |why: &str| format!("the credential plugin {} {why}", printable(name));
    if program.is_empty() {
        return Err("the kubeconfig's exec has no command".to_owned());
    }
    if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(about(
            "needs a terminal (interactiveMode: Always): log in with kubectl, and give a \
             kubeconfig with a token",
        ));
    }
    let mut child = command(exec, program)
        .spawn()
        .map_err(|error| about(&format!("cannot be started: {error}")))?;
    let group = Group::new(child.id());
    let stdout = child.stdout.take();
    let finished = timeout(LIMIT, async {
        let output = read(stdout).await?;
        let status = child.wait().await.map_err(|error| error.to_string())?;
        Ok::<(Vec<u8>, ExitStatus), String>((output, status))
    })
    .await;
    // Also what it has left running.
    drop(group);
    match finished {
        Err(_) => Err(about(&format!(
            "has not ended within {} s, and was killed",
            LIMIT.as_secs()
        ))),
        Ok(Err(why)) => Err(about(&why)),
        Ok(Ok((_, status))) if !status.success() => Err(about(&format!(
            "has failed ({status}): kubectl shows what it says"
        ))),
        Ok(Ok((output, _))) => issued(&output).map_err(about),
    }
}

fn command(exec: &ExecConfig, program: &str) -> Command {
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let mut spec = json!({"interactive": false});
    if let Some(cluster) = &exec.cluster {
        spec["cluster"] = serde_json::to_value(cluster).unwrap_or_default();
    }
    let request = json!({
        "kind": "ExecCredential",
        "apiVersion": exec.api_version,
        "spec": spec,
    });
    command
        .env("KUBERNETES_EXEC_INFO", request.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // Whatever it starts is of its group, and is killed with it.
        .process_group(0)
        .kill_on_drop(true);
    // Elsewhere, the group is killed when this process ends in order.
    #[cfg(target_os = "linux")]
    // SAFETY: prctl is async-signal-safe, and touches nothing of this process.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        });
    }
    command
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    if let Some(stream) = stream {
        let mut limited = stream.take(PLUGIN_OUTPUT as u64 + 1);
        let read = limited.read_to_end(&mut output).await;
        read.map_err(|error| error.to_string())?;
    }
    match output.len() > PLUGIN_OUTPUT {
        true => Err(format!("prints more than {} MiB", PLUGIN_OUTPUT >> 20)),
        false => Ok(output),
    }
}

/// What an `ExecCredential` says.
fn issued(output: &[u8]) -> Result<Issued, &'static str> {
    let text = String::from_utf8_lossy(output);
    // Some print YAML, which kubectl takes as well.
    let tree = serde_json::from_str::<Value>(&text)
        .ok()
        .or_else(|| dump::tree(&text))
        .filter(Value::is_object)
        .ok_or("has not printed an ExecCredential")?;
    let status = &tree["status"];
    let text = |key: &str| status[key].as_str().map(|text| text.trim().to_owned());
    let token = text("token").filter(|token| !token.is_empty());
    if token.as_ref().is_some_and(|token| !is_token(token)) {
        return Err("has printed a token that is not one word");
    }
    let certificate = text("clientCertificateData").zip(text("clientKeyData"));
    if token.is_none() && certificate.is_none() {
        return Err("has printed neither a token nor a certificate");
    }
    let expires = text("expirationTimestamp");
    let expires = expires.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Ok(Issued {
        token,
        certificate,
        expires: expires.map(SystemTime::from),
    })
}

/// The process groups of programs that run now: a trace that ends takes them with it.
static RUNNING: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// A process group, killed when it is dropped.
struct Group(Option<i32>);

impl Group {
    fn new(pid: Option<u32>) -> Self {
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        if let (Some(pid), Ok(mut running)) = (pid, RUNNING.lock()) {
            running.push(pid);
        }
        Self(pid)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(group) = self.0 else { return };
        if let Ok(mut running) = RUNNING.lock() {
            running.retain(|one| *one != group);
        }
        kill(group);
    }
}

/// Kills all that run.
pub(crate) fn kill_all() {
    let groups = RUNNING
        .lock()
        .map(|mut running| std::mem::take(&mut *running));
    groups.unwrap_or_default().into_iter().for_each(kill);
}

fn kill(group: i32) {
    // That it has ended by itself is no failure.
    killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::*;

    fn exec(script: &str) -> ExecConfig {
        let config = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
            "args": ["-c", script], "env": [{"name": "SECRET", "value": "LEAKENV"}],
            "interactiveMode": "Never"});
        serde_json::from_value(config).unwrap()
    }

    async fn printed(script: &str) -> Result<Option<String>, String> {
        run(&exec(script)).await.map(|issued| issued.token)
    }

    #[tokio::test]
    async fn a_token_is_taken_in_json_and_yaml() {
        let json = r#"echo '{"status": {"token": "t1"}}'"#;
        assert_eq!(printed(json).await, Ok(Some("t1".to_owned())));
        let yaml = "printf 'status:\\n  token: t2\\n  expirationTimestamp: \
                    2099-01-01T00:00:00Z\\n'";
        let issued = run(&exec(yaml)).await.unwrap();
        assert_eq!(issued.token.as_deref(), Some("t2"));
        assert!(issued.expires.is_some());
        let environment = r#"echo "{\"status\": {\"token\": \"$SECRET\"}}""#;
        assert_eq!(printed(environment).await, Ok(Some("LEAKENV".to_owned())));
    }

    #[tokio::test]
    async fn what_fails_is_said_without_what_it_prints() {
        for (script, why) in [
            (
                "echo LEAK; echo LEAK >&2; exit 3",
                "has failed (exit status: 3)",
            ),
            ("echo LEAK", "has not printed an ExecCredential"),
            (
                "echo '{\"status\": {\"token\": \"LEAK\\nX\"}}'",
                "not one word",
            ),
            (
                "echo '{\"kind\": \"LEAK\"}'",
                "neither a token nor a certificate",
            ),
            ("yes LEAK", "prints more than 1 MiB"),
        ] {
            let error = printed(script).await.unwrap_err();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("LEAK"), "{error}");
        }
        let mut missing = exec("");
        missing.command = Some("/nowhere/plugin".to_owned());
        let error = run(&missing).await.err().unwrap();
        assert!(error.contains("plugin cannot be started"), "{error}");
    }

    /// Here, time passes as soon as nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn one_that_hangs_is_killed_and_named() {
        let error = printed("sleep 1000").await.unwrap_err();
        let why = "has not ended within 10 s, and was killed";
        assert!(error.contains(why), "{error}");
    }

    #[tokio::test]
    async fn what_it_leaves_running_is_killed_with_it() {
        let dir = tempfile::TempDir::new().unwrap();
        let pid = dir.path().join("pid");
        // It ends by itself; its child would not.
        let script = format!(
            "sleep 1000 >/dev/null & echo $! > {}; echo '{{\"status\": {{\"token\": \"t\"}}}}'",
            pid.display()
        );
        let begun = Instant::now();
        assert_eq!(printed(&script).await, Ok(Some("t".to_owned())));
        assert!(begun.elapsed() < LIMIT);
        let pid = fs::read_to_string(pid).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let ended = || !fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        while !ended() {
            tokio::task::yield_now().await;
        }
    }
}
