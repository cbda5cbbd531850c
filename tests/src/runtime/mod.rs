//! A container runtime: Debian's containerd in a lab's namespace, and pods that run in it.
//!
//! It has directories of its own, and a PID namespace, so that it ends with all it started however
//! the test ends. Its mounts are private, but for those of its own directory: the network
//! namespaces of its pods are mounted there, where they are to be found on a node, too.

mod cri;
mod image;
mod job;
mod leftovers;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};

use self::cri::Cri;
pub use self::job::JobPod;
use crate::{
    lab::{Family, Host, Namespace, output},
    poll_until,
    tracer::Reaped,
};

/// The image of all containers, that of the sandboxes included.
const IMAGE: &str = "localhost/busybox:1";

/// Runs containerd, and takes all it started with it.
///
/// What it mounts and writes outside of its own directory belongs to no other process.
const START: &str = r#"
directory=$1
findmnt --raw --noheadings --output TARGET | while read -r mount; do
    case "$mount" in
    "$directory"*) ;;
    # Unless it has gone meanwhile: others mount things, too.
    *) mount --make-private "$mount" || ! mountpoint -q "$mount" ;;
    esac
done
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
exec containerd --config "$directory/config.toml"
"#;

/// A running containerd.
pub struct Containerd {
    name: String,
    /// How the network namespaces of its pods begin, so that they are swept up like all of a lab.
    lab: String,
    directory: PathBuf,
    cri: Cri,
    /// Dropped before the rest is cleared away.
    process: Option<Reaped>,
}

impl Containerd {
    /// Starts it in a namespace, in which its pods hang on a bridge `cni0` and have addresses of
    /// these subnets: from the tenth on, and `pods` of each family.
    pub fn start(node: &Namespace, subnets: &[String; 2], pods: u8) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);

        leftovers::sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{number}", leftovers::PREFIX, process::id());
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir(&directory)?;
        let mut containerd = Self {
            cri: Cri::new(&directory.join("containerd.sock"))?,
            name,
            lab: format!("wd-{}-cri{number}", process::id()),
            directory,
            process: None,
        };
        // From here on `drop` clears it away, whatever fails.
        containerd.configure(subnets, pods)?;
        containerd.run(node)?;
        containerd.import_image()?;
        Ok(containerd)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("containerd.sock")
    }

    fn configure(&self, subnets: &[String; 2], pods: u8) -> Result<()> {
        let directory = self.directory.display();
        let config = format!(
            r#"
version = 2
root = "{directory}/root"
state = "{directory}/state"
[grpc]
address = "{directory}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
# Lowering a score takes CAP_SYS_RESOURCE, which not every machine gives.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
# Works on every file system.
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{directory}/cni"
"#
        );
        let ranges: Vec<_> = subnets
            .iter()
            .map(|subnet| {
                let base = subnet.split('/').next().unwrap_or_default();
                let base = base.strip_suffix('0').unwrap_or(base);
                let last = 9 + pods;
                serde_json::json!([{
                    "subnet": subnet,
                    "rangeStart": format!("{base}10"),
                    "rangeEnd": format!("{base}{last}"),
                    "gateway": format!("{base}1"),
                }])
            })
            .collect();
        let network = serde_json::json!({
            "cniVersion": "0.4.0",
            "name": "lab",
            "plugins": [{
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": format!("{directory}/ipam"),
                    "ranges": ranges,
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                },
            }],
        });
        fs::write(self.directory.join("config.toml"), config)?;
        fs::create_dir(self.directory.join("cni"))?;
        let network_file = self.directory.join("cni/10-lab.conflist");
        fs::write(network_file, network.to_string())?;
        Ok(())
    }

    fn run(&mut self, node: &Namespace) -> Result<()> {
        let directory = &self.directory;
        // What it mounts in there is seen outside.
        output(Command::new("mount").arg("--bind").args([directory; 2]))?;
        output(Command::new("mount").arg("--make-shared").arg(directory))?;
        let log = File::create(directory.join("log"))?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", node.name()))
            // A test that is killed takes it with it.
            .args(["setpriv", "--pdeathsig", "KILL"])
            .args(["unshare", "--mount", "--propagation", "unchanged"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-euc", START, "sh"])
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = command.spawn().context("cannot start containerd")?;
        self.process = Some(Reaped::new(process));
        let cri = &mut self.cri;
        poll_until("containerd to answer", || cri.version().ok())
            .with_context(|| leftovers::log(directory))
    }

    fn import_image(&mut self) -> Result<()> {
        let archive = image::build(&self.directory, IMAGE)?;
        self.import(&archive, IMAGE)
    }

    /// Imports an archive, and waits until the image in it is known by its name.
    fn import(&mut self, archive: &Path, name: &str) -> Result<()> {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(self.socket());
        ctr.args(["--namespace", "k8s.io", "images", "import"]);
        // The directory of its own configuration, which is not needed, is in the way.
        output(ctr.args(["--snapshotter", "native"]).arg(archive))?;
        let cri = &mut self.cri;
        poll_until("the image to be known", || {
            cri.has_image(name).ok().filter(|known| *known).map(drop)
        })
    }

    /// Starts a pod with one container, as the kubelet does.
    pub fn pod(&mut self, name: &str, labels: &[(&str, &str)]) -> Result<Pod> {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = cri::PodConfig {
            namespace: Pod::NAMESPACE,
            name,
            labels: labels.collect(),
            cgroup: format!("/{}", self.name),
        };
        let running = self.cri.run_pod(&config, IMAGE);
        let running = running.with_context(|| leftovers::log(&self.directory))?;
        // Under a name, so that the lab can do with it what it does with its own.
        let namespace = Namespace::adopt(&running.netns, &format!("{}-{name}", self.lab))?;
        let address = |family: Family| {
            let of_family = |ip: &&IpAddr| ip.is_ipv4() == (family == Family::V4);
            let found = running.ips.iter().find(of_family).copied();
            found.with_context(|| format!("{name} has no {family} address"))
        };
        let [v4, v6] = [address(Family::V4)?, address(Family::V6)?];
        let host = Host::known_as(namespace, v4, v6);
        host.settle()?;
        Ok(Pod {
            sandbox: running.sandbox,
            name: name.to_owned(),
            host,
        })
    }

    /// Ends a pod and gives its addresses back.
    pub fn remove(&mut self, pod: Pod) -> Result<()> {
        let Pod { sandbox, host, .. } = pod;
        drop(host);
        self.cri.remove_pod(&sandbox)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.process = None;
        if let Err(error) = leftovers::clear(&self.directory, &self.name) {
            eprintln!("{error:#}");
        }
    }
}

/// A pod that runs.
pub struct Pod {
    sandbox: String,
    /// Its name.
    pub name: String,
    /// Its network namespace and addresses.
    pub host: Host,
}

impl Pod {
    /// The Kubernetes namespace of all of them.
    pub const NAMESPACE: &'static str = "shop";
}

/// The programs that it takes.
pub fn require() -> Result<()> {
    for program in [
        "/usr/bin/containerd",
        "/usr/sbin/runc",
        "/usr/lib/cni/bridge",
    ] {
        ensure!(
            Path::new(program).exists(),
            "there is no {program}: run `cargo xtask setup`"
        );
    }
    Ok(())
}

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;
