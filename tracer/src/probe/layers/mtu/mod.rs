//! MTU: the largest packet that passes there and back.

mod search;

use std::net::SocketAddr;

pub(crate) use self::search::{Found, Next, SMALL, Search};

use super::{report, took, verdict, without};
use crate::{
    model::{
        Confidence, Fix, Layer, LayerReport, LayerResult, LayerTest, Netns, Point, Site, Verdict,
        shell::Command,
    },
    probe::plan::command::{ping_to, segment_to},
};

/// What is sent to find the largest size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Echo requests, whose replies are as large.
    Echo,
    /// Segments of a TCP connection, where echo requests are not answered.
    Segments,
}

/// One address, and what was found on the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) to: SocketAddr,
    /// What was sent.
    pub(crate) by: By,
    /// The interface that packets leave the source by.
    pub(crate) ifname: Option<String>,
    pub(crate) found: Result<Found, String>,
    /// The verdict of the trace on a packet of the search that was dropped.
    pub(crate) dropped: Option<Verdict>,
    /// Whether TCP reached the address.
    pub(crate) reached: bool,
    /// Where the source is.
    pub(crate) source: Netns,
}

/// The layer.
pub(crate) fn layer(paths: &[Path]) -> LayerReport {
    if paths.is_empty() {
        let reason = "no address to send to";
        return without(Layer::Mtu, LayerResult::Blocked, "", reason);
    }
    report(Layer::Mtu, paths.iter().map(Path::test).collect(), None)
}

impl Path {
    /// The command that sends a packet of this size.
    fn command(&self, size: u32) -> String {
        let command = match self.by {
            By::Echo => ping_to(self.to.ip(), size),
            By::Segments => segment_to(self.to, size),
        };
        self.source.there(&command)
    }

    fn test(&self) -> LayerTest {
        let plain = |size, result, evidence: String| LayerTest {
            test: self.command(size),
            result,
            evidence: Some(evidence),
            verdict: None,
        };
        let found = match &self.found {
            Ok(found) => found,
            Err(reason) => return plain(SMALL, LayerResult::Skipped, reason.clone()),
        };
        let dst = self.to.ip();
        let Some(passes) = found.passes else {
            let (result, reason) = self.unanswered();
            return plain(SMALL, result, reason);
        };
        // The acknowledgment of a segment is small.
        let (pass, besides) = match self.by {
            By::Echo => (format!("pass to {dst} and back"), ""),
            By::Segments => (
                format!("pass to {} in TCP segments", self.to),
                "; echo requests are not answered",
            ),
        };
        let rtt = found
            .fastest
            .map(|rtt| format!(", round trip {}", took(rtt)));
        let rtt = rtt.unwrap_or_default();
        let Some(fails) = found.fails else {
            let by = self
                .ifname
                .as_ref()
                .map(|ifname| format!(", the MTU of {ifname},"));
            let by = by.unwrap_or_default();
            return plain(
                passes,
                LayerResult::Ok,
                format!("{passes} bytes{by} {pass}{rtt}{besides}"),
            );
        };
        if !found.is_steady {
            let text = format!(
                "packets to {dst} are lost at random, large and small: no size is the limit"
            );
            return plain(passes, LayerResult::Skipped, text);
        }
        match found.reported {
            Some((by, mtu)) if mtu == passes => plain(
                passes,
                LayerResult::Ok,
                format!(
                    "{passes} bytes pass to {dst}; {by} answers \"fragmentation needed\", MTU {mtu}, to larger ones{rtt}{besides}"
                ),
            ),
            _ => LayerTest {
                test: self.command(fails),
                result: LayerResult::Failed,
                evidence: Some(format!("{passes} bytes {pass}, {fails} do not{besides}")),
                verdict: Some(self.black_hole(found, passes, fails)),
            },
        }
    }

    /// Not even the smallest size is answered.
    fn unanswered(&self) -> (LayerResult, String) {
        let dst = self.to.ip();
        match (self.reached, self.by) {
            (true, By::Echo) => (
                LayerResult::Skipped,
                format!(
                    "{dst} answers no echo request of {SMALL} bytes, so sizes cannot be compared"
                ),
            ),
            (true, By::Segments) => (
                LayerResult::Skipped,
                format!(
                    "{dst} answers no echo request of {SMALL} bytes and acknowledges no segment that it \
                     has had, so sizes cannot be compared"
                ),
            ),
            (false, _) => (
                LayerResult::Blocked,
                format!("{dst} answers neither TCP nor an echo request of {SMALL} bytes"),
            ),
        }
    }

    fn black_hole(&self, found: &Found, passes: u32, fails: u32) -> Verdict {
        let dst = self.to.ip();
        let is_sure = |verdict: &Verdict| {
            verdict.point != Point::Unknown && verdict.confidence >= Confidence::Likely
        };
        let traced = self.dropped.clone().filter(is_sure);
        // A rule that drops packets by their size is no matter of the MTU.
        let is_of_size = traced
            .as_ref()
            .is_none_or(|verdict| verdict.point == Point::Mtu);
        let what = match self.by {
            By::Echo => " or their echoes",
            By::Segments => "",
        };
        let mut own = traced.unwrap_or_else(|| {
            verdict(
                "probe-mtu-black-hole",
                Point::Mtu,
                Confidence::Likely,
                format!(
                    "packets of more than {passes} bytes to {dst}{what} are lost, and no \
                     \"fragmentation needed\" comes back"
                ),
                dst.to_string(),
            )
        });
        own.evidence.push(format!(
            "`{}` passes and `{}` does not, with {} {} sent in all",
            self.command(passes),
            self.command(fails),
            found.sent,
            match self.by {
                By::Echo => "requests",
                By::Segments => "segments of a connection",
            }
        ));
        match found.reported {
            Some((by, mtu)) => own.evidence.push(format!(
                "{by} answers \"fragmentation needed\" with MTU {mtu}, and {mtu} bytes do not pass either"
            )),
            None => own.evidence.push(
                "no \"fragmentation needed\" came to the source, so its kernel cannot learn the path MTU"
                    .to_owned(),
            ),
        }
        if is_of_size {
            own.fix.extend(self.fixes(found, passes));
        }
        own
    }

    fn fixes(&self, found: &Found, passes: u32) -> Vec<Fix> {
        let mut fixes = Vec::new();
        if let Some(ifname) = &self.ifname {
            let set = |mtu: u32| {
                Command::new("ip link set dev")
                    .arg(ifname)
                    .words("mtu")
                    .arg(mtu)
            };
            let mut fix =
                Fix::change(set(passes), set(found.link)).noting("until the pod is restarted");
            fix.site = Site::Namespace(self.source.clone());
            fixes.push(fix);
        }
        fixes.push(
            Fix::advice(format!(
                "for all pods, set the MTU of the network plugin to {passes} (Calico: \
                 calicoNetwork.mtu, Cilium: MTU, Flannel: Backend.MTU in net-conf.json), or let ICMP \
                 \"fragmentation needed\" pass"
            ))
            .at(Site::Cluster),
        );
        fixes
    }
}
