//! A route with several next hops, one of which does not answer: the kernel, asked for the route of
//! such a packet, may name the other one.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Report, Stage},
    poll_until,
    traffic::TcpAttempt,
};

const SERVER: &str = "10.20.200.1:8080";
const DEAD: &str = "10.20.12.2";

/// Never of the next hop that is alive.
const LIVING: [&str; 2] = ["gateway 10.20.11.2", "10.20.11.2 is an address"];

/// A node between a client and two routers that have the server's address.
fn two_routers() -> Result<Stage> {
    let stage = Stage::new(["a", "node", "one", "two"])?;
    stage.veth(("a", "eth0"), ("node", "va"))?;
    stage.ip(
        "a",
        "addr add 10.20.2.2/24 dev eth0; route add default via 10.20.2.1",
    )?;
    stage.ip("node", "addr add 10.20.2.1/24 dev va")?;
    stage.sysctl("node", "net.ipv4.ip_forward=1")?;
    for (role, port, subnet) in [("one", "e1", "10.20.11"), ("two", "e2", "10.20.12")] {
        stage.veth((role, "eth0"), ("node", port))?;
        stage.ip("node", &format!("addr add {subnet}.1/24 dev {port}"))?;
        stage.ip(
            role,
            &format!(
                "addr add {subnet}.2/24 dev eth0; addr add 10.20.200.1/32 dev lo; route add \
                 default via {subnet}.1"
            ),
        )?;
        stage.serve(role, SERVER)?;
    }
    Ok(stage)
}

/// Source ports spread the packets: of these, some take each next hop.
fn spread(stage: &Stage) -> Result<()> {
    stage.sysctl("node", "net.ipv4.fib_multipath_hash_policy=1")
}

fn many(stage: &Stage, from: &'static str, is_answered: bool) -> Result<Report> {
    stage.trace(["node"], SERVER, |watch| {
        let calls: Result<Vec<_>> = (0..12).map(|_| watch.dial(from, SERVER)).collect();
        if is_answered {
            for call in calls? {
                call.ends(End::Answered)?;
            }
            return Ok(());
        }
        watch.until_drop()
    })
}

fn blames_the_silent_one(report: &Report) -> Result<()> {
    report
        .verdict(
            &ExpectedVerdict::any_of(["endpoint"])
                .at_least("likely")
                .why(DEAD)
                .why("at e2")
                .never_says(LIVING),
        )
        .map(drop)
}

const ROUTE: &str =
    "route add 10.20.200.1/32 nexthop via 10.20.11.2 dev e1 nexthop via 10.20.12.2 dev e2";

#[test]
fn one_of_two_is_dead() -> Result<()> {
    let stage = two_routers()?;
    stage.ip("node", ROUTE)?;
    spread(&stage)?;
    stage.ip("two", "addr del 10.20.12.2/24 dev eth0")?;
    blames_the_silent_one(&many(&stage, "a", false)?)
}

/// The node sends by itself, by next-hop objects as FRR makes them.
#[test]
fn one_of_a_group_is_dead_for_the_node_itself() -> Result<()> {
    let stage = two_routers()?;
    stage.ip(
        "node",
        "nexthop add id 1 via 10.20.11.2 dev e1; nexthop add id 2 via 10.20.12.2 dev e2; nexthop \
         add id 10 group 1/2; route add 10.20.200.1/32 nhid 10",
    )?;
    spread(&stage)?;
    stage.ip("two", "addr del 10.20.12.2/24 dev eth0")?;
    blames_the_silent_one(&many(&stage, "node", false)?)
}

/// Both are behind one interface, where no host has the second one's address.
fn at_one_interface() -> Result<Stage> {
    let stage = two_routers()?;
    stage.ip("one", "addr add 10.20.11.3/24 dev eth0")?;
    stage.ip(
        "node",
        "route add 10.20.200.1/32 nexthop via 10.20.11.3 dev e1 nexthop via 10.20.11.9 dev e1",
    )?;
    spread(&stage)?;
    Ok(stage)
}

fn blames_the_one_without_an_answer(report: &Report) -> Result<()> {
    report
        .verdict(
            &ExpectedVerdict::any_of(["endpoint"])
                .at_least("likely")
                .why("10.20.11.9")
                .never_says(["10.20.11.3 does not answer"]),
        )
        .map(drop)
}

/// The entry of the dead one distinguishes them.
#[test]
fn one_of_two_at_one_interface_is_dead() -> Result<()> {
    let stage = at_one_interface()?;
    blames_the_one_without_an_answer(&many(&stage, "a", false)?)
}

/// The kernel soon removes the entry of a neighbor that it asked in vain, here before whydrop reads it.
#[test]
fn the_dead_ones_entry_is_gone() -> Result<()> {
    let stage = at_one_interface()?;
    let report = stage.trace(["node"], SERVER, |watch| {
        watch.before_it_looks(|stage| {
            let server = SERVER.parse()?;
            let dial = |_| TcpAttempt::start(stage.namespace("a"), None, server);
            let calls = (0..12).map(dial).collect::<Result<Vec<_>>>()?;
            poll_until("a next hop to fail", || {
                let entries = stage.exec("node", "ip neigh show nud failed dev e1");
                let is_failed = entries.is_ok_and(|all| all.contains("10.20.11.9"));
                is_failed.then_some(())
            })?;
            // What the client sends again would have the kernel ask again.
            stage.ip("a", "link set eth0 down")?;
            drop(calls);
            stage.ip("node", "neigh del 10.20.11.9 dev e1")
        })?;
        watch.until_drop()
    })?;
    blames_the_one_without_an_answer(&report)
}

#[test]
fn healthy() -> Result<()> {
    let stage = two_routers()?;
    stage.ip("node", ROUTE)?;
    spread(&stage)?;
    many(&stage, "a", true)?.silent().map(drop)
}
