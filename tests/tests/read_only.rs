//! A trace changes nothing on the node, and asks no question that makes the kernel load a module.
//!
//! In a virtual machine of the kernel matrix, the modules that questions would load are unloaded
//! first. A kernel without modules has nothing to load; there, the rest is compared.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use whydrop_tests::{
    binary,
    fault::Iptables,
    lab::{Family, Namespace, Topology, topology::RouterLab},
    poll_until,
    record::{Outcome, Point, Record},
    tracer::{Tracer, run_to_end, watching},
    traffic::TcpAttempt,
};

/// Modules that nft, sock_diag and ctnetlink load, each before what it needs.
const LOADED_BY_ASKING: [&str; 5] = [
    "nf_conntrack_netlink",
    "nf_tables",
    "tcp_diag",
    "udp_diag",
    "inet_diag",
];
/// Settings whose values are counts or change by themselves.
const COUNTS: [&str; 2] = ["nf_conntrack_count", "nf_conntrack_max"];

/// What a question could change, as `/proc` and `tc` show it: looking at it loads nothing.
#[derive(Debug, PartialEq, Eq)]
struct State {
    modules: Vec<String>,
    namespaces: Vec<Vec<String>>,
}

impl State {
    fn of(lab: &RouterLab) -> Result<Self> {
        let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
        let mut modules: Vec<_> = modules
            .lines()
            .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
            .collect();
        modules.sort();
        let of_namespace = |namespace: &&Namespace| -> Result<Vec<String>> {
            let mut lines = namespace
                .enter(|| {
                    ["ip_tables_names", "ip6_tables_names"].map(|file| {
                        let tables = fs::read_to_string(format!("/proc/thread-self/net/{file}"));
                        format!(
                            "{file}: {}",
                            tables.unwrap_or_else(|error| error.to_string())
                        )
                    })
                })
                .to_vec();
            for command in [
                "sysctl --all --ignore --pattern ^net",
                "tc qdisc show",
                "ip route show table all",
                "ip rule show",
            ] {
                let output = namespace.run(command)?;
                let is_count = |line: &&str| COUNTS.iter().any(|count| line.contains(count));
                lines.extend(
                    output
                        .lines()
                        .filter(|line| !is_count(line))
                        .map(str::to_owned),
                );
            }
            Ok(lines)
        };
        Ok(Self {
            modules,
            namespaces: lab
                .namespaces()
                .iter()
                .map(of_namespace)
                .collect::<Result<_>>()?,
        })
    }
}

/// Whether this is a machine of the kernel matrix, whose modules are the test's to unload.
fn in_a_machine_of_its_own() -> bool {
    fs::read_to_string("/proc/cmdline").is_ok_and(|line| line.contains("vmnonce="))
}

/// The modules are not loaded; they are again once this is dropped, for the tests that follow.
struct Unloaded;

impl Unloaded {
    fn new() -> Result<Self> {
        let unloaded = Self;
        for module in LOADED_BY_ASKING {
            // Rules of namespaces that are going hold modules for a moment.
            poll_until(&format!("{module} to be unloaded"), || {
                unload(module);
                (!is_loaded(module)).then_some(())
            })?;
        }
        Ok(unloaded)
    }
}

impl Drop for Unloaded {
    fn drop(&mut self) {
        for module in LOADED_BY_ASKING {
            modprobe(&["--quiet", module]);
        }
    }
}

/// Unloads what uses the module, and then the module.
fn unload(module: &str) {
    for user in users(module).unwrap_or_default() {
        unload(&user);
    }
    modprobe(&["--remove", "--quiet", module]);
}

fn is_loaded(module: &str) -> bool {
    users(module).is_some()
}

/// The modules that use this one; `None` if it is not loaded. Lines of `/proc/modules` are `name size
/// references users, …`.
fn users(module: &str) -> Option<Vec<String>> {
    let loaded = fs::read_to_string("/proc/modules").ok()?;
    let mut lines = loaded.lines().map(|line| line.split(' '));
    let mut fields =
        lines.find_map(|mut fields| (fields.next() == Some(module)).then_some(fields))?;
    let users = fields.nth(2)?.split(',');
    Some(
        users
            .filter(|user| !user.is_empty() && *user != "-")
            .map(str::to_owned)
            .collect(),
    )
}

/// Loads or unloads; what the kernel has, is looked at afterwards.
fn modprobe(arguments: &[&str]) {
    let _ = Command::new("modprobe").args(arguments).status();
}

/// Nor do the other commands, which look at all there is on a node.
#[test]
fn other_commands_change_nothing() -> Result<()> {
    let lab = RouterLab::build()?;
    let _unloaded = match in_a_machine_of_its_own() {
        true => Some(Unloaded::new()?),
        false => None,
    };
    let before = State::of(&lab)?;
    let server = lab.server.address(Family::V4).to_string();
    let client = lab.client.address(Family::V4).to_string();
    let to = format!("{server}:8001");
    let way = ["explain", "--way", "--from", &client, "--to", &to];
    for arguments in [&["check"][..], &way] {
        let output = run_to_end(Command::new(binary()).args(arguments))?;
        ensure!(
            !output.stdout.is_empty(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let after = State::of(&lab)?;
    ensure!(before == after, "before: {before:#?}\nafter: {after:#?}");
    Ok(())
}

/// A rule of iptables-legacy drops one connection, nothing listens for another: the verdicts come
/// from what the kernel has, and nothing else is in it afterwards.
#[test]
fn asking_changes_nothing() -> Result<()> {
    let lab = RouterLab::build()?;
    let chain = Iptables {
        table: "filter",
        chain: "FORWARD",
    };
    chain.append(&lab.router, Family::V4, "-p tcp --dport 8001 -j DROP")?;
    let _unloaded = match in_a_machine_of_its_own() {
        true => Some(Unloaded::new()?),
        false => None,
    };
    let before = State::of(&lab)?;

    let mut arguments = watching(&lab.namespaces());
    arguments.push("--all".to_owned());
    let mut tracer = Tracer::start(arguments)?;
    for (port, outcome, point) in [
        (8001, Outcome::Unanswered, Point::Firewall),
        (8002, Outcome::Refused, Point::Socket),
    ] {
        let to = lab.server.socket(Family::V4, port);
        let _attempt = TcpAttempt::start(&lab.client, None, to)?;
        let record = tracer.wait_for(
            &format!("the attempt at port {port}"),
            |record| matches!(record, Record::Attempt(attempt) if attempt.flow.dport == Some(port)),
        )?;
        let Record::Attempt(attempt) = record else {
            unreachable!("an attempt was waited for")
        };
        ensure!(
            attempt.outcome == outcome
                && attempt.verdict.as_ref().map(|verdict| verdict.point) == Some(point),
            "{attempt:?}"
        );
    }
    tracer.stop()?;

    let after = State::of(&lab)?;
    ensure!(before == after, "before: {before:#?}\nafter: {after:#?}");
    Ok(())
}
