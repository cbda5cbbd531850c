//! What goes wrong with a tunnel whose packets show nothing of what is inside.

use anyhow::Result;
use whydrop_tests::{
    expected::ExpectedVerdict,
    incident::{End, Stage},
};

use super::{
    kind::Kind,
    stage::{FIRST, PORT, SECOND, SERVER, block, swallow},
};

impl Kind {
    /// With WireGuard, what is dropped shows nothing of what is inside. The device's peer, and the rules
    /// of the node, tell.
    pub(super) fn encrypted_and_blocked(self, node: &str, hook: &str) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        block(&stage, node, hook, self.facts().packets)?;
        let report = self.dial(&stage, ["p1", "n1"])?;
        report.outcome("unanswered")?.verdict(
            &ExpectedVerdict::new("overlay", "likely")
                .why(format!(
                    "udp from {FIRST}:{PORT} to {SECOND}:{PORT} is dropped"
                ))
                .why("of chain c in table ip own")
                .fix(format!(
                    "let through udp from {FIRST} to {SECOND} port {PORT}"
                )),
        )?;
        Ok(())
    }

    /// The other end answers no handshake: it is not there, or what is sent to it gets lost.
    pub(super) fn without_handshake(self, fault: impl Fn(&Stage) -> Result<()>) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        fault(&stage)?;
        let report = self.dial(&stage, ["p1", "n1"])?;
        report.outcome("unanswered")?.verdict(
            &ExpectedVerdict::new("overlay", "likely")
                .why(format!("peer of wg0 at {SECOND}:{PORT} does not answer"))
                .why("no handshake has succeeded")
                .fix(format!(
                    "let through udp from {FIRST} to {SECOND} port {PORT}"
                )),
        )?;
        Ok(())
    }

    /// The keys of an earlier handshake still hold when the way is lost.
    pub(super) fn swallowed_after_a_handshake(self) -> Result<()> {
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let report = stage.trace(["p1", "n1"], SERVER, |watch| {
            watch.dial("p1", SERVER)?.ends(End::Answered)?;
            swallow(watch.stage())?;
            watch.dial("p1", SERVER)
        })?;
        report.outcome("unanswered")?.verdict(
            &ExpectedVerdict::new("off-node", "likely")
                .why(format!(
                    "encrypted for the WireGuard peer at {SECOND}:{PORT}"
                ))
                .evidence("the last handshake was ")
                .fix(format!(
                    "let through udp from {FIRST} to {SECOND} port {PORT}"
                )),
        )?;
        Ok(())
    }

    /// A route leads to the device, and none of its peers takes what it is for.
    pub(super) fn no_peer_for_the_address(self) -> Result<()> {
        const ELSEWHERE: &str = "10.21.9.2:8080";
        let Some(stage) = self.stage()? else {
            return Ok(());
        };
        let device = self.facts().device;
        stage.ip("n1", &format!("route add 10.21.9.0/24 dev {device}"))?;
        let report = stage.trace(["p1", "n1"], ELSEWHERE, |watch| watch.dial("p1", ELSEWHERE))?;
        report.verdict(&ExpectedVerdict::new("overlay", "confirmed").why(format!(
            "no WireGuard peer of {device} has 10.21.9.2 among its allowed IPs"
        )))?;
        Ok(())
    }
}
