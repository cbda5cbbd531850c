use serde_json::Value;

use super::*;
use cri_messages::{
    LinuxPodSandboxStatus, NamespaceOption, Namespaces, PodIp, PodSandboxMetadata,
    PodSandboxNetworkStatus,
};

/// Of containerd 1.6 on a node of a real cluster.
const RECORDED: &str = include_str!("../../../../../testdata/cri-pod-sandbox-status.json");

fn recorded() -> PodSandboxStatusResponse {
    let json: Value = serde_json::from_str(RECORDED).unwrap();
    let status = &json["status"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let texts = |value: &Value| {
        let texts = value.as_object().unwrap().iter();
        texts
            .map(|(key, value)| (key.clone(), text(value)))
            .collect::<Vec<_>>()
    };
    let created: jiff::Timestamp = status["createdAt"].as_str().unwrap().parse().unwrap();
    PodSandboxStatusResponse {
        status: Some(PodSandboxStatus {
            metadata: Some(PodSandboxMetadata {
                name: text(&status["metadata"]["name"]),
                uid: text(&status["metadata"]["uid"]),
                namespace: text(&status["metadata"]["namespace"]),
            }),
            state: 0,
            created_at: created.as_nanosecond().try_into().unwrap(),
            network: Some(PodSandboxNetworkStatus {
                ip: text(&status["network"]["ip"]),
                additional_ips: Vec::new(),
            }),
            linux: with_network(NamespaceMode::Pod),
            labels: texts(&status["labels"]).into_iter().collect(),
            annotations: texts(&status["annotations"]).into_iter().collect(),
        }),
        info: HashMap::from([("info".to_owned(), json["info"].to_string())]),
    }
}

fn with_network(mode: NamespaceMode) -> Option<LinuxPodSandboxStatus> {
    let options = Some(NamespaceOption {
        network: mode.into(),
        ..Default::default()
    });
    let namespaces = Some(Namespaces { options });
    Some(LinuxPodSandboxStatus { namespaces })
}

fn changed(change: impl FnOnce(&mut PodSandboxStatus)) -> Result<(Pod, Option<PathBuf>), String> {
    let mut answer = recorded();
    change(answer.status.as_mut().unwrap());
    pod(answer)
}

fn with_info(info: &str) -> (Pod, Option<PathBuf>) {
    let mut answer = recorded();
    answer.info.insert("info".to_owned(), info.to_owned());
    pod(answer).unwrap()
}

#[test]
fn a_recorded_sandbox_is_a_pod() {
    let (pod, netns) = pod(recorded()).unwrap();
    let expected = Pod {
        id: ObjectName::new("prod", "server"),
        uid: Some("6dd8b850-c8d9-4232-908b-1dcabc6ad9d5".to_owned()),
        // As in the API, without what the kubelet adds.
        labels: [("app".to_owned(), "server".to_owned())].into(),
        ips: vec!["10.244.1.2".parse().unwrap()],
        created: Some(1_795_221_818),
        sandbox: Some(Sandbox {
            netns: None,
            pid: Some(5150),
            cgroup: Some(
                "k8sn1/kubepods/besteffort/pod6dd8b850-c8d9-4232-908b-1dcabc6ad9d5".to_owned(),
            ),
        }),
        ..Pod::default()
    };
    assert_eq!(pod, expected);
    let path = "/var/run/netns/cni-78da51bd-ebba-9e9a-fc68-d059d715e481";
    assert_eq!(netns, Some(PathBuf::from(path)));
}

#[test]
fn dual_stack_pods_have_both_addresses() {
    let (pod, _) = changed(|status| {
        status.network.as_mut().unwrap().additional_ips = vec![PodIp {
            ip: "fd00:244::7".to_owned(),
        }];
    })
    .unwrap();
    let ips: Vec<String> = pod.ips.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["10.244.1.2", "fd00:244::7"]);
}

#[test]
fn a_pod_on_the_nodes_network_has_none_of_its_own() {
    let (pod, netns) = changed(|status| {
        status.linux = with_network(NamespaceMode::Node);
        status.network = Some(PodSandboxNetworkStatus::default());
    })
    .unwrap();
    assert!(pod.host_network && pod.ips.is_empty());
    assert_eq!(netns, None);
}

#[test]
fn the_uid_of_a_static_pod_is_not_the_apis() {
    let (pod, _) = changed(|status| {
        let source = "kubernetes.io/config.source".to_owned();
        status.annotations.insert(source, "file".to_owned());
    })
    .unwrap();
    assert_eq!(pod.uid, None);
}

#[test]
fn what_no_api_server_would_take_is_refused() {
    let named = |name: &'static str| {
        changed(move |status| status.metadata.as_mut().unwrap().name = name.to_owned())
    };
    for name in ["", "a\nb", "a\u{1b}[31m"] {
        assert!(named(name).is_err(), "{name:?}");
    }
    let labelled = changed(|status| {
        status.labels.insert("a".to_owned(), "b c\n".to_owned());
    });
    assert!(labelled.is_err());
    assert!(changed(|status| status.metadata = None).is_err());
    assert!(pod(PodSandboxStatusResponse::default()).is_err());
}

/// CRI-O gives neither process nor configuration, where systemd manages its cgroups and sandboxes
/// need no process of their own (`drop_infra_ctr`, its default).
#[test]
fn crio_reports_less() {
    let (pod, netns) = with_info(
        r#"{"runtimeSpec": {"linux": {
            "cgroupsPath": "kubepods-besteffort-pod1234_5678.slice:crio:0a1b2c",
            "namespaces": [{"type": "pid"}, {"type": "network", "path": "/var/run/netns/7b"}]
        }}}"#,
    );
    let sandbox = pod.sandbox.unwrap();
    assert_eq!(sandbox.pid, None);
    assert_eq!(
        sandbox.cgroup.as_deref(),
        Some("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1234_5678.slice")
    );
    assert_eq!(netns, Some(PathBuf::from("/var/run/netns/7b")));
}

#[test]
fn a_runtime_may_report_nothing_beyond_the_interface() {
    for info in [
        "{}",
        "",
        "no JSON",
        "[]",
        r#"{"runtimeSpec": null, "pid": 0}"#,
    ] {
        let (pod, netns) = with_info(info);
        assert_eq!(pod.sandbox, Some(Sandbox::default()), "{info}");
        assert_eq!((pod.ips.len(), netns), (1, None), "{info}");
    }
    let relative =
        r#"{"runtimeSpec": {"linux": {"namespaces": [{"type": "network", "path": "x"}]}}}"#;
    assert_eq!(with_info(relative).1, None);
}

/// What the container runtime answers.
#[test]
fn fuzz_cri() {
    use prost::Message as _;

    let whole = recorded().encode_to_vec();
    let small = PodSandboxStatusResponse::default().encode_to_vec();
    crate::fuzz::run("cri", &[&whole, &small], |input| {
        if let Ok(answer) = PodSandboxStatusResponse::decode(input) {
            let _ = pod(answer);
        }
        // Its own JSON, inside.
        let mut answer = recorded();
        let info = crate::fuzz::text(input);
        answer.info.insert("info".to_owned(), info);
        let _ = pod(answer);
    });
}
