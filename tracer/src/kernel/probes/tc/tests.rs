//! On the running kernel, as root, in namespaces of their own, one after the other because
//! descriptors are counted: `cargo test -- --ignored --test-threads=1 tc::`.

use std::{
    fs,
    process::{Command, id},
    time::{Duration, Instant},
};

use tracer_common::{
    event::StackPolicy,
    filter::{Filter, Watched},
};

use super::*;
use crate::{
    kernel::{
        btf::KernelBtf,
        budget::{self, Budget},
        probes::{Programs, Settings},
    },
    net::{Kind, Watch},
};

/// A namespace that goes with its test.
struct Lab(String);

impl Lab {
    fn new(name: &str) -> Self {
        let name = format!("whydrop-{name}-{}", id());
        run(&format!("ip netns add {name}"));
        Self(name)
    }

    fn ip(&self, arguments: &str) {
        run(&format!("ip -n {} {arguments}", self.0));
    }

    /// Pairs `a<n>` and `b<n>`, all in one go.
    fn batch(&self, lines: impl Iterator<Item = String>) {
        let path = std::env::temp_dir().join(format!("{}.batch", self.0));
        fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
        self.ip(&format!("-batch {}", path.display()));
        fs::remove_file(path).unwrap();
    }

    fn namespace(&self) -> Namespace {
        Namespace::named(&self.0).unwrap()
    }

    fn filters(&self) -> usize {
        let mut count = 0;
        for interface in ["lo", "a0", "b0"] {
            for direction in ["ingress", "egress"] {
                let shown = output(&format!(
                    "tc -n {} filter show dev {interface} {direction}",
                    self.0
                ));
                count += shown.matches(" whydrop ").count();
            }
        }
        count
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.0));
    }
}

fn output(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn run(command: &str) {
    output(command);
}

fn programs() -> Programs {
    let btf = KernelBtf::of_running_kernel().unwrap();
    let settings = Settings {
        filter: Filter::default(),
        budget: Budget::of(budget::LEAST),
        watched: Watched::NOTHING,
        stacks: StackPolicy::default(),
        answered_rate: u64::MAX,
        debug: false,
        at_once: false,
    };
    Programs::load(&settings, crate::kernel::probes::Plan::of(&btf).unwrap()).unwrap()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The links that this process's programs are attached by.
fn links() -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten();
    descriptors
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|target| target.to_string_lossy().contains("bpf_link"))
        .count()
}

fn pairs(command: &str, count: usize) -> impl Iterator<Item = String> + '_ {
    (0..count).map(move |n| command.replace('#', &n.to_string()))
}

/// Takes changes until nothing has come for a while.
async fn settle(watch: &mut Watch, tc: &mut TcProbes) -> usize {
    let mut seen = 0;
    while let Ok(changes) = tokio::time::timeout(Duration::from_millis(400), watch.next()).await {
        let changes = changes.unwrap();
        seen += changes.len();
        tc.follow(&changes);
    }
    seen
}

async fn follow_a_storm(attachment: Attachment) {
    const PAIRS: usize = 300;
    let lab = Lab::new("storm");
    let namespaces = [lab.namespace()];
    let netns = namespaces[0].inode;
    let mut programs = programs();
    let mut watch = Watch::start(&namespaces).unwrap();
    let mut tc = TcProbes::new(&namespaces, attachment);
    programs
        .attach_classifiers(&mut tc, watch.inventory().iter())
        .unwrap();
    assert_eq!(tc.degraded(), None);
    assert_eq!(tc.len(), 1, "lo");
    let before = (descriptors(), links());

    // While they come and go without being read: more than the socket holds.
    lab.batch(pairs("link add a# type veth peer name b#", PAIRS));
    let start = Instant::now();
    settle(&mut watch, &mut tc).await;
    eprintln!(
        "{attachment:?}: {} interfaces attached in {:?}, descriptors {} -> {}",
        tc.len(),
        start.elapsed() - Duration::from_millis(400),
        before.0,
        descriptors()
    );
    assert_eq!(tc.degraded(), None);
    assert_eq!(tc.len(), 2 * PAIRS + 1);
    assert_eq!(watch.inventory().iter().count(), 2 * PAIRS + 1);
    let some = watch
        .inventory()
        .iter()
        .find(|interface| interface.link.name == "a7")
        .unwrap();
    assert_eq!(some.link.kind, Kind::Veth);
    assert!(some.link.peer().is_some_and(|peer| peer.nsid.is_none()));
    assert!(tc.held.contains_key(&(netns, some.link.ifindex)));

    lab.batch(pairs("link del a#", PAIRS));
    settle(&mut watch, &mut tc).await;
    assert_eq!(tc.len(), 1);
    assert_eq!(watch.inventory().iter().count(), 1);
    assert_eq!((descriptors(), links()), before);

    // At the same time: attaching to what is going already.
    {
        let name = lab.0.clone();
        let storm = std::thread::spawn(move || {
            for n in 0..60 {
                run(&format!(
                    "ip -n {name} link add a{n} type veth peer name b{n}"
                ));
                run(&format!("ip -n {name} link set b{n} up name c{n}"));
                run(&format!("ip -n {name} link del a{n}"));
            }
        });
        while !storm.is_finished() {
            settle(&mut watch, &mut tc).await;
        }
        storm.join().unwrap();
    }
    settle(&mut watch, &mut tc).await;
    assert_eq!(tc.degraded(), None);
    assert_eq!((tc.len(), watch.inventory().iter().count()), (1, 1));
    assert_eq!((descriptors(), links()), before);
}

#[tokio::test]
#[ignore = "needs root"]
async fn links_come_and_go_with_300_pairs() {
    follow_a_storm(Attachment::Automatic).await;
}

#[tokio::test]
#[ignore = "needs root"]
async fn filters_come_and_go_with_300_pairs() {
    follow_a_storm(Attachment::Clsact).await;
}

#[test]
#[ignore = "needs root"]
fn filters_are_first_and_are_removed_in_order() {
    let lab = Lab::new("order");
    lab.ip("link add a0 type veth peer name b0");
    run(&format!("tc -n {} qdisc add dev b0 clsact", lab.0));
    let namespaces = [lab.namespace()];
    let interfaces = list(&namespaces);
    let mut programs = programs();
    let mut tc = TcProbes::new(&namespaces, Attachment::Clsact);
    programs.attach_classifiers(&mut tc, &interfaces).unwrap();
    assert_eq!(tc.degraded(), None);
    assert_eq!(lab.filters(), 6);
    let first = output(&format!("tc -n {} filter show dev a0 ingress", lab.0));
    assert!(first.contains("pref 1 bpf"), "{first}");
    // Another process's start does not take them for left over.
    let mut other = TcProbes::new(&namespaces, Attachment::Clsact);
    programs
        .attach_classifiers(&mut other, &interfaces)
        .unwrap();
    assert_eq!(lab.filters(), 12);
    drop(other);
    assert_eq!(lab.filters(), 6);
    drop(tc);
    assert_eq!(lab.filters(), 0);
    let qdiscs = output(&format!("tc -n {} qdisc show", lab.0));
    assert_eq!(qdiscs.matches("clsact").count(), 1, "not ours: {qdiscs}");
}

#[test]
#[ignore = "needs root"]
fn what_a_dead_process_left_is_swept() {
    let lab = Lab::new("sweep");
    lab.ip("link add a0 type veth peer name b0");
    let namespaces = [lab.namespace()];
    let interfaces = list(&namespaces);
    let mut programs = programs();
    let mut dead = TcProbes::new(&namespaces, Attachment::Clsact);
    programs.attach_classifiers(&mut dead, &interfaces).unwrap();
    // As SIGKILL does: the socket goes, the filters stay.
    dead.clsact.clear();
    drop(dead);
    assert_eq!(lab.filters(), 6);
    let mut tc = TcProbes::new(&namespaces, Attachment::Clsact);
    programs.attach_classifiers(&mut tc, &interfaces).unwrap();
    assert_eq!(lab.filters(), 6);
    drop(tc);
    assert_eq!(lab.filters(), 0);
}

#[tokio::test]
#[ignore = "needs root"]
async fn a_namespace_that_is_deleted_goes() {
    let (lab, other) = (Lab::new("kept"), Lab::new("deleted"));
    other.ip(&format!(
        "link add a0 type veth peer name b0 netns {}",
        lab.0
    ));
    let namespaces = [lab.namespace(), other.namespace()];
    let mut programs = programs();
    let mut watch = Watch::start(&namespaces).unwrap();
    let mut tc = TcProbes::new(&namespaces, Attachment::Clsact);
    programs
        .attach_classifiers(&mut tc, watch.inventory().iter())
        .unwrap();
    assert_eq!(tc.len(), 4);
    drop(other);
    let start = Instant::now();
    while tc.len() > 1 && start.elapsed() < Duration::from_secs(5) {
        let changes = watch.next().await.unwrap();
        tc.follow(&changes);
    }
    // The pair's end in the other namespace goes too: nothing keeps the deleted one alive.
    assert_eq!(tc.len(), 1);
    let left = watch.inventory().iter().map(|interface| interface.netns);
    assert_eq!(left.collect::<BTreeSet<_>>().len(), 1);
}

/// What is there, without keeping a watch.
fn list(namespaces: &[Namespace]) -> Vec<Interface> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let watch = Watch::start(namespaces).unwrap();
        watch.inventory().iter().cloned().collect()
    })
}
