//! The way in where no image can be pulled: the static program is streamed into a pod of an image that the
//! node has already, through the pod's standard input.

use std::{collections::VecDeque, env, fs, io::Read as _, path::Path, sync::Arc};

use serde_json::{Value, json};

use super::nodes::Node;

/// Where it is put: an `emptyDir` in memory, since the root of the pod stays read-only.
const DIRECTORY: &str = "/whydrop";
/// The largest program, in bytes.
const LARGEST: u64 = 64 << 20;
/// Images of a node that are tried, one after the other.
const TRIED: usize = 4;

/// How much longer than others a Job may take whose pod gets the program first, in seconds.
const UPLOAD: u64 = 1800;
/// What the script ends with where it cannot take the program.
const UNFIT: i64 = 97;

/// The program, for an architecture.
#[derive(Clone)]
pub(super) struct Program(pub(super) Arc<[u8]>);

impl Program {
    /// Reads the program that is to run on a node: `given`, or this one itself if it would run there.
    ///
    /// # Errors
    ///
    /// It would not run there. In words.
    pub(super) fn read(given: Option<&Path>, node: &Node) -> Result<Self, String> {
        let own = env::current_exe();
        let path = match (given, &own) {
            (Some(path), _) => path,
            (None, Ok(path)) => path,
            (None, Err(error)) => return Err(format!("this program cannot be found: {error}")),
        };
        let file = fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut bytes = Vec::new();
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| format!("{}: {error}", path.display()))?;
        if bytes.len() as u64 > LARGEST {
            return Err(format!("{} is too large", path.display()));
        }
        let elf = Elf::of(&bytes).ok_or_else(|| {
            format!(
                "{} is no program for Linux: name one with --program",
                path.display()
            )
        })?;
        if !node.architecture.is_empty() && elf.architecture != node.architecture {
            return Err(format!(
                "{} is for {}, and the node is {}: name another with --program",
                path.display(),
                elf.architecture,
                node.architecture
            ));
        }
        if given.is_none() && !elf.is_static {
            return Err(
                "this program is linked with libraries that a pod need not have: name a static one with \
                 --program"
                    .to_owned(),
            );
        }
        Ok(Self(bytes.into()))
    }
}

/// What the head of a program says.
struct Elf {
    /// As images and Kubernetes have it.
    architecture: &'static str,
    /// It names no interpreter that would have to be there.
    is_static: bool,
}

impl Elf {
    /// Of a 64-bit little-endian program.
    fn of(bytes: &[u8]) -> Option<Self> {
        const INTERPRETER: u32 = 3;

        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        if bytes.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let architecture = match u16_at(18)? {
            62 => "amd64",
            183 => "arm64",
            _ => return None,
        };
        let table =
            usize::try_from(u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?)).ok()?;
        let (size, count) = (usize::from(u16_at(54)?), usize::from(u16_at(56)?));
        let mut is_static = true;
        for index in 0..count {
            let at = table.checked_add(index.checked_mul(size)?)?;
            is_static &= u32_at(at)? != INTERPRETER;
        }
        Some(Self {
            architecture,
            is_static,
        })
    }
}

/// Images to try, at least one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Images {
    pub(super) first: String,
    pub(super) others: VecDeque<String>,
}

/// The images to try on a node: `given`, or those that it reports, the likeliest to have a shell first.
///
/// # Errors
///
/// There is none. In words.
pub(super) fn candidates(given: Option<&str>, node: &Node) -> Result<Images, String> {
    // Of what nodes commonly have.
    const WITH_SHELL: [&str; 12] = [
        "busybox",
        "alpine",
        "debian",
        "ubuntu",
        "cilium/cilium",
        "calico/node",
        "flannel",
        "amazon-k8s-cni",
        "kube-proxy",
        "node-local-dns",
        "nginx",
        "fluent",
    ];
    const WITHOUT: [&str; 6] = [
        "pause",
        "distroless",
        "coredns",
        "csi-",
        "metrics-server",
        "etcd",
    ];
    if let Some(image) = given {
        return Ok(Images {
            first: image.to_owned(),
            others: VecDeque::new(),
        });
    }
    let reported = node.images.clone();
    let mut images =
        reported.ok_or("which images the node has is not known without `get nodes`")?;
    let rank = |image: &String| {
        let first = WITH_SHELL.iter().position(|name| image.contains(name));
        first.unwrap_or(WITH_SHELL.len())
    };
    images.retain(|image| !WITHOUT.iter().any(|name| image.contains(name)));
    images.sort_by_key(rank);
    images.truncate(TRIED);
    let mut images = VecDeque::from(images);
    let first = images.pop_front();
    Ok(Images {
        first: first.ok_or("the node reports no image that might have a shell")?,
        others: images,
    })
}

/// Whether a container that has ended with this status has not come to start the program: its image lacks
/// something that the script needs.
pub(super) fn is_unfit(status: i64) -> bool {
    // The shell's own: it finds no such program, or cannot start it.
    matches!(status, UNFIT | 126 | 127)
}

/// The images that a node reports, by a name each with which the kubelet finds them.
pub(super) fn images_of(node: &Value) -> Vec<String> {
    let images = node["status"]["images"].as_array().into_iter().flatten();
    images
        .filter_map(|image| {
            let names = image["names"].as_array().into_iter().flatten();
            let mut names = names
                .filter_map(Value::as_str)
                .filter(|name| is_image(name));
            // A tag tells a person more than a digest.
            let first = names.clone().next();
            names.find(|name| !name.contains('@')).or(first)
        })
        .map(str::to_owned)
        .collect()
}

/// Whether it may be the name of an image, and nothing else.
fn is_image(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-._/:@".contains(&b);
    (1..=512).contains(&name.len())
        && name.bytes().all(is_part)
        && name.as_bytes()[0].is_ascii_alphanumeric()
}

/// The Job whose pod takes the program from its standard input, made of the one whose image cannot be
/// pulled.
pub(super) fn job(job: &Value, name: &str, image: &str, program: &Program) -> Value {
    let script = format!(
        "{{ head -c {} > {DIRECTORY}/whydrop && chmod 755 {DIRECTORY}/whydrop; }} || exit {UNFIT}; \
         exec {DIRECTORY}/whydrop \"$@\"",
        program.0.len()
    );
    let mut job = job.clone();
    job["metadata"]["name"] = name.into();
    let deadline = job["spec"]["activeDeadlineSeconds"].as_u64();
    job["spec"]["activeDeadlineSeconds"] = deadline.map(|deadline| deadline + UPLOAD).into();
    let spec = &mut job["spec"]["template"]["spec"];
    spec["volumes"] =
        json!([{"name": "whydrop", "emptyDir": {"medium": "Memory", "sizeLimit": LARGEST}}]);
    let container = &mut spec["containers"][0];
    container["image"] = image.into();
    container["imagePullPolicy"] = "Never".into();
    container["command"] = json!(["/bin/sh", "-c", script, "whydrop"]);
    container["volumeMounts"] = json!([{"name": "whydrop", "mountPath": DIRECTORY}]);
    // What is in the volume counts.
    container["resources"]["limits"]["memory"] = "320Mi".into();
    job
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(images: &[&str]) -> Node {
        Node {
            name: "n1".to_owned(),
            selinux: false,
            not_ready: None,
            architecture: "amd64".to_owned(),
            images: Some(images.iter().map(|image| (*image).to_owned()).collect()),
        }
    }

    #[test]
    fn images_with_a_shell_are_tried_first_and_those_without_never() {
        let node = node(&[
            "registry.k8s.io/pause:3.9",
            "registry.example/app:1",
            "registry.k8s.io/coredns/coredns:v1.11",
            "docker.io/flannel/flannel:v0.26",
        ]);
        let tried = |given, node: &Node| {
            candidates(given, node).map(|images| {
                let others = images.others.into_iter();
                [images.first].into_iter().chain(others).collect::<Vec<_>>()
            })
        };
        let expected = ["docker.io/flannel/flannel:v0.26", "registry.example/app:1"];
        assert_eq!(tried(None, &node), Ok(expected.map(str::to_owned).into()));
        let given = vec!["mine:1".to_owned()];
        assert_eq!(tried(Some("mine:1"), &node), Ok(given));
        let many: Vec<String> = (1..=9)
            .map(|n| format!("registry.example/app:{n}"))
            .collect();
        let mut node = Node {
            images: Some(many),
            ..node
        };
        assert_eq!(tried(None, &node).map(|tried| tried.len()), Ok(TRIED));
        node.images = Some(vec!["registry.k8s.io/pause:3.9".to_owned()]);
        let none = tried(None, &node).expect_err("no image");
        node.images = None;
        let unknown = tried(None, &node).expect_err("it was not asked");
        assert!(none.contains("reports no image") && unknown.contains("not known"));
    }

    #[test]
    fn only_names_of_images_are_taken_and_tags_rather_than_digests() {
        let node = json!({"status": {"images": [
            {"names": ["a/b@sha256:00", "a/b:1"]},
            {"names": ["a/c@sha256:00"]},
            {"names": ["$(reboot)", "-x", "a b"]},
            {"names": null},
        ]}});
        assert_eq!(images_of(&node), ["a/b:1", "a/c@sha256:00"]);
    }

    #[test]
    fn a_program_for_another_machine_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("program");
        let mut elf = vec![0; 120];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[18] = 183;
        elf[32] = 64;
        elf[54] = 56;
        fs::write(&path, &elf).expect("it can be written");
        let why = |path: &Path| Program::read(Some(path), &node(&[])).err();
        let said = why(&path).expect("arm64");
        assert!(said.contains("arm64") && said.contains("amd64"), "{said}");
        elf[18] = 62;
        fs::write(&path, &elf).expect("it can be written");
        assert_eq!(why(&path), None);
        // One program header, which names an interpreter.
        elf[56] = 1;
        elf[64] = 3;
        assert!(!Elf::of(&elf).expect("ELF").is_static);
        elf[64] = 1;
        assert!(Elf::of(&elf).expect("ELF").is_static);
        fs::write(&path, "#!/bin/sh").expect("it can be written");
        assert!(why(&path).expect("a script").contains("no program"));
        elf[39] = 0xff;
        elf[32] = 0xff;
        assert!(Elf::of(&elf).is_none());
    }

    #[test]
    fn a_streamed_job_pulls_nothing_and_mounts_nothing_of_the_host() {
        let plain = json!({"metadata": {"name": "whydrop-1"}, "spec": {
            "activeDeadlineSeconds": 210,
            "template": {"spec": {
            "containers": [{"image": "x", "args": ["--all"], "resources": {"limits": {}}}],
        }}}});
        let job = job(
            &plain,
            "whydrop-1-s1",
            "debian:12",
            &Program(vec![0; 77].into()),
        );
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 210 + UPLOAD);
        let spec = &job["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Never");
        assert_eq!(container["args"], json!(["--all"]));
        let script = container["command"][2].as_str().expect("a script");
        assert!(
            script.contains("head -c 77 ")
                && script.contains("exit 97")
                && script.ends_with("\"$@\""),
            "{script}"
        );
        assert!(spec["volumes"][0]["emptyDir"].is_object());
        assert!(spec["volumes"][0]["hostPath"].is_null());
    }
}
