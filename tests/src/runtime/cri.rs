//! Asking a container runtime for pods, as a kubelet does.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use cri_messages as proto;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tonic::{
    Request,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{Labels, image::FOREVER};
use crate::deadline;

/// A client of its socket.
pub(super) struct Cri {
    runtime: Runtime,
    grpc: Grpc<Channel>,
}

/// What a pod is to be.
pub(super) struct PodConfig<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) labels: Labels,
    pub(super) cgroup: String,
}

/// A pod that runs.
pub(super) struct RunningPod {
    pub(super) sandbox: String,
    pub(super) ips: Vec<IpAddr>,
    /// Where its network namespace is mounted.
    pub(super) netns: PathBuf,
}

impl Cri {
    /// Connects once there is something to be asked.
    pub(super) fn new(socket: &Path) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        // Needs the runtime that it will be used in.
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Ok(Self {
            grpc: Grpc::new(channel),
            runtime,
        })
    }

    pub(super) fn version(&mut self) -> Result<()> {
        self.ask(RUNTIME, "Version", proto::Empty {})
            .map(|proto::Empty {}| ())
    }

    pub(super) fn has_image(&mut self, name: &str) -> Result<bool> {
        let image = Some(image(name));
        let request = proto::ImageStatusRequest { image };
        let answer: proto::ImageStatusResponse = self.ask(IMAGES, "ImageStatus", request)?;
        Ok(answer.image.is_some())
    }

    /// Runs a sandbox, and a container in it.
    pub(super) fn run_pod(&mut self, pod: &PodConfig<'_>, image_name: &str) -> Result<RunningPod> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let uid = format!("00000000-0000-4000-8000-{number:012}");
        let mut labels = pod.labels.clone();
        // As the kubelet does.
        for (key, value) in [
            ("name", pod.name),
            ("namespace", pod.namespace),
            ("uid", &uid),
        ] {
            labels.insert(format!("io.kubernetes.pod.{key}"), value.to_owned());
        }
        let config = proto::PodSandboxConfig {
            metadata: Some(proto::PodSandboxMetadata {
                name: pod.name.to_owned(),
                uid,
                namespace: pod.namespace.to_owned(),
            }),
            labels,
            linux: Some(proto::LinuxPodSandboxConfig {
                cgroup_parent: pod.cgroup.clone(),
                security_context: None,
            }),
            ..Default::default()
        };
        let request = proto::RunPodSandboxRequest {
            config: Some(config.clone()),
        };
        let sandbox: proto::SandboxId = self.ask(RUNTIME, "RunPodSandbox", request)?;
        let sandbox = sandbox.pod_sandbox_id;
        let container = proto::CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(proto::ContainerConfig {
                metadata: Some(proto::ContainerMetadata {
                    name: "main".to_owned(),
                }),
                image: Some(image(image_name)),
                command: FOREVER.map(str::to_owned).into(),
                linux: Some(proto::LinuxContainerConfig::default()),
                ..Default::default()
            }),
            sandbox_config: Some(config),
        };
        let container: proto::ContainerId = self.ask(RUNTIME, "CreateContainer", container)?;
        self.ask(RUNTIME, "StartContainer", container)
            .map(|proto::Empty {}| ())?;
        let (ips, netns) = self.network(&sandbox)?;
        Ok(RunningPod {
            sandbox,
            ips,
            netns,
        })
    }

    fn network(&mut self, sandbox: &str) -> Result<(Vec<IpAddr>, PathBuf)> {
        let request = proto::PodSandboxStatusRequest {
            pod_sandbox_id: sandbox.to_owned(),
            verbose: true,
        };
        let answer: proto::PodSandboxStatusResponse =
            self.ask(RUNTIME, "PodSandboxStatus", request)?;
        let network = answer.status.and_then(|status| status.network);
        let network = network.context("the sandbox has no network")?;
        let others = network.additional_ips.iter().map(|other| &other.ip);
        let ips = [&network.ip].into_iter().chain(others);
        let ips = ips.map(|ip| ip.parse().with_context(|| format!("{ip:?} is no address")));
        let info = answer.info.get("info").map_or("", String::as_str);
        let info: serde_json::Value = serde_json::from_str(info)?;
        let namespaces = info["runtimeSpec"]["linux"]["namespaces"].as_array();
        let netns = namespaces
            .into_iter()
            .flatten()
            .find(|namespace| namespace["type"] == "network")
            .and_then(|namespace| namespace["path"].as_str())
            .context("the sandbox has no network namespace")?;
        Ok((ips.collect::<Result<_>>()?, netns.into()))
    }

    /// Runs a sandbox in the namespaces of the node, and a container in it. Returns both.
    pub(super) fn run_on_node(
        &mut self,
        config: &proto::PodSandboxConfig,
        container: proto::ContainerConfig,
    ) -> Result<(String, String)> {
        let request = proto::RunPodSandboxRequest {
            config: Some(config.clone()),
        };
        let sandbox: proto::SandboxId = self.ask(RUNTIME, "RunPodSandbox", request)?;
        let sandbox = sandbox.pod_sandbox_id;
        let container = proto::CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(container),
            sandbox_config: Some(config.clone()),
        };
        let container: proto::ContainerId = self.ask(RUNTIME, "CreateContainer", container)?;
        self.ask(RUNTIME, "StartContainer", container.clone())
            .map(|proto::Empty {}| ())?;
        Ok((sandbox, container.container_id))
    }

    /// Ends a container, with time to do so by itself.
    pub(super) fn stop_container(&mut self, container: &str, seconds: i64) -> Result<()> {
        let request = proto::StopContainerRequest {
            container_id: container.to_owned(),
            timeout: seconds,
        };
        self.ask(RUNTIME, "StopContainer", request)
            .map(|proto::Empty {}| ())
    }

    /// Ends a sandbox with all its containers.
    pub(super) fn remove_pod(&mut self, sandbox: &str) -> Result<()> {
        for method in ["StopPodSandbox", "RemovePodSandbox"] {
            let request = proto::SandboxId {
                pod_sandbox_id: sandbox.to_owned(),
            };
            self.ask(RUNTIME, method, request)
                .map(|proto::Empty {}| ())?;
        }
        Ok(())
    }

    fn ask<Q, A>(&mut self, service: &str, method: &str, request: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(format!("/{service}/{method}"))?;
        let grpc = &mut self.grpc;
        let answer = async {
            grpc.ready().await?;
            let codec = ProstCodec::default();
            anyhow::Ok(grpc.unary(Request::new(request), path, codec).await?)
        };
        // A timer needs the runtime that it is in.
        let answer = self
            .runtime
            .block_on(async { timeout(deadline(), answer).await });
        let answer = answer.with_context(|| format!("{method}: no answer"))?;
        Ok(answer.with_context(|| method.to_owned())?.into_inner())
    }
}

pub(super) fn image(name: &str) -> proto::ImageSpec {
    proto::ImageSpec {
        image: name.to_owned(),
    }
}

const RUNTIME: &str = "runtime.v1.RuntimeService";
const IMAGES: &str = "runtime.v1.ImageService";
