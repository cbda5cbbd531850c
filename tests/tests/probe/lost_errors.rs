//! What the firewall has to do with the MTU: a rule that drops the errors about large packets, and one that
//! drops large packets.

use anyhow::{Context as _, Result, ensure};
use whydrop_tests::{
    fault::{Chain, nft},
    lab::{Family, topology::RouterLab, tun_device},
    probe::Probed,
    record::{Layer, LayerResult, Point},
    traffic::TcpServer,
};

use super::{PORT, ignore_echo, lose_icmp, narrow, probe};

fn errors(family: Family) -> &'static str {
    family.pick(
        "icmp type destination-unreachable drop",
        "icmpv6 type packet-too-big drop",
    )
}

/// A router takes less, and a rule drops what it answers: the rows of both name the rule. Without the
/// rule, nothing fails.
fn lost_by(
    family: Family,
    has_echo: bool,
    fault: impl Fn(&RouterLab) -> Result<()>,
) -> Result<Probed> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(family, PORT);
    let _serving = TcpServer::echo(&lab.server, server)?;
    if !has_echo {
        ignore_echo(&lab.server)?;
    }
    let mtu = family.pick(1337, 1381);
    narrow(&lab, family, mtu)?;
    let run = || probe(&lab, &lab.client, server, family).run();
    let healthy = run()?;
    healthy.healthy()?;
    healthy.expect(Layer::Firewall, LayerResult::Ok, "got through")?;
    fault(&lab)?;
    let lost = run()?;
    lost.fails(Layer::Mtu, Point::Mtu, "")?;
    lost.expect(
        Layer::Mtu,
        LayerResult::Failed,
        &format!("{mtu} bytes pass"),
    )?;
    lost.expect(Layer::Firewall, LayerResult::Failed, errors(family))?;
    lost.expect(Layer::Tcp, LayerResult::Ok, "")?;
    ensure!(advises_icmp(&lost)?, "{}", lost.shown());
    Ok(lost)
}

fn advises_icmp(probed: &Probed) -> Result<bool> {
    let verdict = probed.layer(Layer::Mtu)?.verdict.as_ref();
    let verdict = verdict.context("a verdict")?;
    let mut lines = verdict.fix.iter().map(|fix| fix.line());
    Ok(lines.any(|line| line.contains("ICMP") || line.contains("icmp")))
}

#[test]
fn at_the_router() -> Result<()> {
    Family::at_once(|family| lost_by(family, true, |lab| lose_icmp(lab, family)).map(drop))
}

#[test]
fn at_the_router_without_echo() -> Result<()> {
    Family::at_once(|family| lost_by(family, false, |lab| lose_icmp(lab, family)).map(drop))
}

#[test]
fn at_the_source() -> Result<()> {
    let at_source =
        |family| move |lab: &RouterLab| nft(&lab.client, Chain::inet("input"), errors(family));
    Family::at_once(|family| lost_by(family, true, at_source(family)).map(drop))
}

/// Large packets vanish without a drop, as in a network beyond this node: nothing was seen to block an
/// error, so no one is told to let it pass.
#[test]
fn nothing_is_seen_of_it() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _serving = TcpServer::echo(&lab.server, server)?;
        let run = || probe(&lab, &lab.client, server, family).run();
        run()?.healthy()?;
        let mtu = family.pick(1337, 1381);
        // They wait for a process that does not read them.
        let _hole = lab.router.enter(|| tun_device("hole", libc::IFF_TAP))?;
        lab.router.run("ip link set dev hole up")?;
        let rule = family.pick(
            format!("ip length > {mtu} fwd to hole"),
            format!("ip6 length > {} fwd to hole", mtu - 40),
        );
        nft(&lab.router, Chain::netdev("ingress", "left"), &rule)?;
        let lost = run()?;
        let words = format!("packets of more than {mtu} bytes");
        let row = lost.fails(Layer::Mtu, Point::Mtu, &words)?;
        let rule = row.verdict.as_ref().and_then(|found| found.rule.as_ref());
        let rule = rule.context("a rule")?;
        ensure!(rule.as_str() == "probe-mtu-black-hole", "{row:?}");
        ensure!(!advises_icmp(&lost)?, "{row:?}");
        Ok(())
    })
}

/// A rule drops packets by their size: that is the firewall's, in both rows.
#[test]
fn a_rule_on_the_size() -> Result<()> {
    Family::at_once(|family| {
        let lab = RouterLab::build()?;
        let server = lab.server.socket(family, PORT);
        let _serving = TcpServer::echo(&lab.server, server)?;
        let run = || probe(&lab, &lab.client, server, family).run();
        run()?.healthy()?;
        let rule = family.pick("ip length > 1000 drop", "ip6 length > 960 drop");
        nft(&lab.router, Chain::inet("forward"), rule)?;
        let dropped = run()?;
        dropped.fails(Layer::Mtu, Point::Firewall, rule)?;
        dropped.expect(Layer::Mtu, LayerResult::Failed, "1000 bytes pass")?;
        dropped.fails(Layer::Firewall, Point::Firewall, rule)?;
        Ok(())
    })
}

/// A rule answers large segments with a RST: it is named, and the reset is not taken for loss.
#[test]
fn a_rule_that_resets() -> Result<()> {
    let lab = RouterLab::build()?;
    let server = lab.server.socket(Family::V4, PORT);
    let _serving = TcpServer::echo(&lab.server, server)?;
    ignore_echo(&lab.server)?;
    let run = || probe(&lab, &lab.client, server, Family::V4).run();
    run()?.healthy()?;
    let rule = "meta l4proto tcp ip length > 1000 reject with tcp reset";
    nft(&lab.router, Chain::inet("forward"), rule)?;
    let reset = run()?;
    reset.fails(Layer::Mtu, Point::Firewall, "reject with tcp reset")?;
    reset.expect(Layer::Mtu, LayerResult::Failed, "was reset after")?;
    reset.fails(Layer::Firewall, Point::Firewall, "reject with tcp reset")?;
    Ok(())
}
