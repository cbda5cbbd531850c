//! "Reply from unexpected source": a DNS server that listens on all addresses answers from its first
//! one, and the client takes no answer from there (traefik/traefik#7430, miekg/dns#95). The filter
//! names the address that was asked; what is dropped has the other one.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{Report, Stage},
};

const ASKED: &str = "10.20.1.16:53";

fn trace(listens: &str, filter: &str) -> Result<Report> {
    let stage = Stage::new(["a", "b"])?;
    stage.veth(("a", "eth0"), ("b", "eth0"))?;
    stage.ip("a", "addr add 10.20.1.2/24 dev eth0")?;
    stage.ip(
        "b",
        "addr add 10.20.1.10/24 dev eth0; addr add 10.20.1.16/24 dev eth0",
    )?;
    stage.serve_dns("b", listens)?;
    stage.trace(["a", "b"], filter, |watch| watch.ask("a", ASKED))
}

#[test]
fn listening_on_all_addresses() -> Result<()> {
    for filter in [ASKED, "--from 10.20.1.2"] {
        let report = trace("0.0.0.0:53", filter)?;
        let expected = ExpectedVerdict::any_of(["socket"])
            .at_least("likely")
            .why("10.20.1.10:53")
            .never_says(["no socket listens"]);
        report.outcome("unanswered")?.verdict(&expected)?;
    }
    Ok(())
}

#[test]
fn listening_on_the_address_itself() -> Result<()> {
    trace(ASKED, ASKED)?.silent().map(drop)
}
