//! A large cluster, from a file.

use std::{
    env, fs,
    io::Read as _,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{self, Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    Benchmark, Effort,
    figure::{Figure, Samples, Unit},
};
use crate::binary;

pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "cluster",
    title: "A large cluster",
    method: "`whydrop explain --cluster FILE` for one flow, with 5,000 pods, 2,000 Services and \
             their EndpointSlices, and 500 NetworkPolicies in 50 namespaces. The objects are copied \
             from a real cluster, as kubectl writes them.",
    run,
};

const PODS: usize = 5_000;
const SERVICES: usize = 2_000;
const POLICIES: usize = 500;
const NAMESPACES: usize = 50;

/// A real cluster, as kubectl wrote it.
const REAL: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tracer/testdata/cluster-dump.json"
));

fn run(effort: Effort) -> Result<Vec<Figure>> {
    let file = env::temp_dir().join(format!("whydrop-bench-{}.json", process::id()));
    let text = cluster()?.to_string();
    let size = text.len() as f64 / f64::from(1 << 20);
    fs::write(&file, text)?;
    let measured = (0..effort.rounds(7)).map(|_| explain(&file)).collect();
    fs::remove_file(&file)?;
    let measured: Result<Vec<_>> = measured;
    let (mut time, mut memory) = (Samples::new(), Samples::new());
    for (seconds, mebibytes) in measured? {
        time.push(seconds);
        memory.push(mebibytes);
    }
    Ok(vec![
        Figure::new("size of the file", Unit::Mebibytes, size),
        Figure::new("5,000 pods: time to the answer", Unit::Seconds, time),
        Figure::new("5,000 pods: peak memory", Unit::Mebibytes, memory),
    ])
}

/// Seconds, and MiB at the peak.
fn explain(file: &Path) -> Result<(f64, f64)> {
    let start = Instant::now();
    let mut child = Command::new(binary())
        .args([
            "explain",
            "-o",
            "json",
            "--from",
            "ns-1/pod-1",
            "--to",
            "ns-2/pod-2:8080",
        ])
        .arg("--cluster")
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut answer = String::new();
    let mut stdout = child.stdout.take().context("stdout is piped")?;
    stdout.read_to_string(&mut answer)?;
    let (status, memory) = wait(&child)?;
    let took = start.elapsed().as_secs_f64();
    ensure!(status.success(), "explain ended with {status}");
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(answer["ingress"]["pod"] == "ns-2/pod-2", "{answer}");
    Ok((took, memory))
}

/// Waits for a child. Returns its peak memory, in MiB.
fn wait(child: &Child) -> Result<(ExitStatus, f64)> {
    let mut status = 0;
    // SAFETY: an all-zero `rusage` is a valid one: plain integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let pid = libc::pid_t::try_from(child.id())?;
    // SAFETY: the kernel writes a status and one `rusage`, which outlive the call.
    let result = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    nix::errno::Errno::result(result)?;
    Ok((
        ExitStatus::from_raw(status),
        usage.ru_maxrss as f64 / 1024.0,
    ))
}

fn cluster() -> Result<Value> {
    let real: Value = serde_json::from_str(REAL)?;
    let items = real["items"].as_array().context("a list of objects")?;
    let template = |kind: &str| {
        let mut of_kind = items.iter().filter(|item| item["kind"] == kind);
        let has_address = |item: &&Value| kind != "Pod" || item["status"]["podIP"].is_string();
        of_kind
            .find(has_address)
            .cloned()
            .context("an object of every kind")
    };
    let mut all = Vec::new();
    let namespace = template("Namespace")?;
    for number in 0..NAMESPACES {
        let name = format!("ns-{number}");
        let mut namespace = namespace.clone();
        namespace["metadata"]["labels"] = json!({ "kubernetes.io/metadata.name": name });
        namespace["metadata"]["name"] = name.into();
        all.push(namespace);
    }
    all.push(template("Node")?);
    let named = |object: &Value, prefix: &str, number: usize| {
        let mut object = object.clone();
        object["metadata"]["name"] = format!("{prefix}-{number}").into();
        object["metadata"]["namespace"] = format!("ns-{}", number % NAMESPACES).into();
        object["metadata"]["uid"] = format!("{prefix}-{number}").into();
        object
    };
    let address = |number: usize| {
        format!(
            "10.{}.{}.{}",
            100 + (number >> 16),
            number >> 8 & 255,
            number & 255
        )
    };
    let app = |number: usize| json!({ "app": format!("app-{}", number % SERVICES) });
    let pod = template("Pod")?;
    for number in 0..PODS {
        let mut pod = named(&pod, "pod", number);
        pod["metadata"]["labels"] = app(number);
        pod["status"]["podIP"] = address(number).into();
        pod["status"]["podIPs"] = json!([{ "ip": address(number) }]);
        all.push(pod);
    }
    let (service, slice) = (template("Service")?, template("EndpointSlice")?);
    for number in 0..SERVICES {
        let mut service = named(&service, "svc", number);
        let cluster_ip = format!("10.96.{}.{}", number >> 8, number & 255);
        service["spec"]["clusterIP"] = cluster_ip.clone().into();
        service["spec"]["clusterIPs"] = json!([cluster_ip]);
        service["spec"]["selector"] = app(number);
        all.push(service);
        let mut slice = named(&slice, "svc", number);
        let service_name = format!("svc-{number}");
        slice["metadata"]["labels"] = json!({ "kubernetes.io/service-name": service_name });
        let behind = (number..PODS).step_by(SERVICES);
        slice["endpoints"] = behind
            .map(|pod| json!({ "addresses": [address(pod)], "conditions": { "ready": true } }))
            .collect();
        all.push(slice);
    }
    let policy = template("NetworkPolicy")?;
    for number in 0..POLICIES {
        let mut policy = named(&policy, "policy", number);
        policy["spec"] = json!({
            "podSelector": { "matchLabels": app(number) },
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{ "podSelector": { "matchLabels": app(number + 1) } }],
                "ports": [{ "protocol": "TCP", "port": 8080 }],
            }],
        });
        all.push(policy);
    }
    Ok(json!({ "apiVersion": "v1", "kind": "List", "items": all }))
}
