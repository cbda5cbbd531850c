//! The verdict on a size that does not pass and is not reported, and what helps.

use super::{By, Found, Path, is_of_rules, is_sure, too_big};
use crate::{
    model::{Confidence, DropReport, Fix, Point, Site, Verdict},
    node::change,
    probe::layers::verdict,
    words,
};

impl Path {
    pub(super) fn black_hole(&self, found: &Found, passes: u32, fails: u32) -> Verdict {
        let mut own = self.cause(passes);
        let is_of_rules = is_of_rules(&own);
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
        // A rule that drops packets by their size is no matter of the MTU.
        if is_of_rules {
            return own;
        }
        let too_big = too_big(self.to.ip());
        match found.reported {
            Some((by, mtu)) => own.evidence.push(format!(
                "{by} answers {too_big} with MTU {mtu}, and {mtu} bytes do not pass either"
            )),
            None => own.evidence.push(format!(
                "no {too_big} came to the source, so its kernel cannot learn the path MTU"
            )),
        }
        // What the trace can mend where the packets were dropped is not mended at the source; that senders
        // learn nothing is.
        if own.point == Point::Mtu && (own.fix.is_empty() || self.silenced.is_some()) {
            own.fix.extend(self.fixes(found, passes));
        }
        own
    }

    /// What the trace has seen, or else what follows from the sizes.
    fn cause(&self, passes: u32) -> Verdict {
        let dropped = self.dropped.clone().filter(is_sure);
        match (&self.silenced, dropped) {
            (_, Some(dropped)) if is_of_rules(&dropped) => dropped,
            (Some(silenced), _) => self.message_lost(silenced),
            (None, Some(dropped)) => dropped,
            (None, None) => self.nothing_seen(passes),
        }
    }

    /// The error came, and was dropped. It is about the probe's own packet, so no one has made it up.
    fn message_lost(&self, silenced: &DropReport) -> Verdict {
        let mut own = self.verdict_on_message(silenced);
        if own.fix.is_empty() {
            let place = silenced.netns_name.as_ref();
            let place = place.map(|name| format!(" in {}", words::namespace(name)));
            own.fix.push(Fix::advice(format!(
                "let ICMP {} pass{}, so that senders learn the path MTU",
                too_big(self.to.ip()),
                place.unwrap_or_default()
            )));
        }
        own
    }

    fn verdict_on_message(&self, silenced: &DropReport) -> Verdict {
        let seen = &silenced.verdict;
        if seen.point == Point::Mtu {
            return seen.clone();
        }
        let (too_big, by) = (too_big(self.to.ip()), silenced.flow.src);
        let mut own = verdict(
            "probe-mtu-message-lost",
            Point::Mtu,
            seen.confidence,
            format!(
                "{by} answers {too_big} to packets to {}, and that was dropped: {}",
                self.to.ip(),
                seen.why
            ),
            self.to.ip().to_string(),
        );
        own.evidence.clone_from(&seen.evidence);
        own.fix.clone_from(&seen.fix);
        own
    }

    fn nothing_seen(&self, passes: u32) -> Verdict {
        let dst = self.to.ip();
        let what = match self.by {
            By::Echo => " or their echoes",
            By::Segments => "",
        };
        verdict(
            "probe-mtu-black-hole",
            Point::Mtu,
            Confidence::Likely,
            format!(
                "packets of more than {passes} bytes to {dst}{what} are lost, and no {} comes back",
                too_big(dst)
            ),
            dst.to_string(),
        )
    }

    fn fixes(&self, found: &Found, passes: u32) -> Vec<Fix> {
        let mut fixes = Vec::new();
        if let Some(ifname) = &self.ifname {
            let fix = change::mtu(ifname, found.link, passes);
            let site = Site::Namespace(self.source.clone());
            fixes.push(fix.noting("does not persist").at(site));
        }
        fixes.push(
            Fix::advice(format!(
                "for all pods, set the MTU of the network plugin to {passes} (Calico: \
                 calicoNetwork.mtu, Cilium: MTU, Flannel: Backend.MTU in net-conf.json)"
            ))
            .at(Site::Cluster),
        );
        fixes
    }
}
