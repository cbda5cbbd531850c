//! The drop record that a scenario must bring about.

use std::net::{IpAddr, SocketAddr};

use super::{ExpectedVerdict, differs};
use crate::{
    kernel,
    lab::Namespace,
    record::{Drop, Flow as RecordedFlow, Hook, Protocol},
    traffic::Flow,
};

/// The drop record that a scenario must bring about.
#[derive(Debug, Clone)]
pub struct ExpectedDrop {
    reason: &'static str,
    function: &'static str,
    hook: Option<&'static str>,
    ifname: Option<String>,
    netns: Option<(u32, String)>,
    dst: Option<SocketAddr>,
    original_dst: Option<SocketAddr>,
    outer: Option<Outer>,
    error: Option<(IpAddr, IpAddr)>,
    verdict: Option<ExpectedVerdict>,
}

/// The encapsulating packet: source, destination, destination port.
type Outer = (IpAddr, IpAddr, u16);

impl ExpectedDrop {
    /// A drop with this reason in this function, on the newest kernel; on older ones, with what
    /// [`kernel`] says instead.
    pub fn new(reason: &'static str, function: &'static str) -> Self {
        let (reason, function) = kernel::shown((reason, function));
        Self {
            reason,
            function,
            hook: None,
            ifname: None,
            netns: None,
            dst: None,
            original_dst: None,
            outer: None,
            error: None,
            verdict: None,
        }
    }

    /// … with this verdict.
    pub fn judged(self, verdict: ExpectedVerdict) -> Self {
        Self {
            verdict: Some(verdict),
            ..self
        }
    }

    /// … on this netfilter hook. Without it, the record must not name one.
    pub fn hook(self, hook: &'static str) -> Self {
        Self {
            hook: Some(hook),
            ..self
        }
    }

    /// … on this interface.
    pub fn at(self, namespace: &Namespace, ifname: &str) -> Self {
        Self {
            ifname: Some(ifname.to_owned()),
            netns: Some((namespace.inode(), namespace.name().to_owned())),
            ..self
        }
    }

    /// … of a packet whose destination was translated from what the client asked for.
    pub fn translated(self, from: SocketAddr, to: SocketAddr) -> Self {
        Self {
            dst: Some(to),
            original_dst: Some(from),
            ..self
        }
    }

    /// … inside a packet from one node to the other.
    pub fn inside(self, src: IpAddr, dst: IpAddr, port: u16) -> Self {
        Self {
            outer: Some((src, dst, port)),
            ..self
        }
    }

    /// … of an ICMP error that speaks of the conversation.
    pub fn error(self, src: IpAddr, dst: IpAddr) -> Self {
        Self {
            error: Some((src, dst)),
            ..self
        }
    }

    /// What does not fit, as a sentence; `None` where all fits.
    pub(crate) fn mismatch(&self, flow: Flow, drop: &Drop) -> Option<String> {
        let mut flow = RecordedFlow::from(self.dst.map_or(flow, |dst| flow.towards(dst)));
        let mut quoted = None;
        if let Some((src, dst)) = self.error {
            quoted = Some(flow);
            flow = RecordedFlow {
                proto: match src {
                    IpAddr::V4(_) => Protocol::Icmp,
                    IpAddr::V6(_) => Protocol::Icmpv6,
                },
                src,
                sport: None,
                dst,
                dport: None,
            };
        }
        let outer = drop
            .outer
            .as_ref()
            .map(|outer| (outer.src, outer.dst, outer.dport.unwrap_or_default()));
        let (inode, name) = self.netns.clone().unzip();
        let wrong: Vec<String> = [
            differs("flow", &drop.flow, &flow),
            differs("quoted", &drop.quoted, &quoted),
            differs("reason", &drop.reason.name(), &self.reason),
            differs("function", &drop.function, &Some(self.function.to_owned())),
            differs("hook", &drop.hook.map(Hook::name), &self.hook),
            differs("ifname", &drop.ifname, &self.ifname),
            differs("netns", &drop.netns, &inode),
            differs("netns_name", &drop.netns_name, &name),
            differs(
                "original_dst",
                &drop.original_dst,
                &self.original_dst.map(|dst| (dst.ip(), Some(dst.port()))),
            ),
            differs("outer", &outer, &self.outer),
            self.verdict
                .as_ref()
                .and_then(|verdict| verdict.mismatch(&drop.verdict)),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!wrong.is_empty()).then(|| wrong.join(", "))
    }
}
