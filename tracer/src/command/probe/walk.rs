//! The walk through the layers: what does not depend on another layer is asked at the same time.

mod names;
mod path;
mod session;
mod transport;

use std::{cell::Cell, net::IpAddr, rc::Rc, time::Duration};

use anyhow::Result;
use tokio::sync::{
    mpsc::{UnboundedSender, unbounded_channel},
    oneshot,
};

use super::{
    Follow,
    rows::{ORDER, Rows},
    source::Sender,
};
use crate::{
    cli::options::ProbeConfig,
    cluster::{live::Cluster, policy::Protocol},
    command::setup::Trace,
    model::{Layer, LayerReport, LayerResult, Netns, Outcome},
    probe::{
        Plan,
        layers::{self, dns::Queries, placement::Placement, policy, tcp::Tried, traced},
        observed::Observed,
        plan::{MOST_ANSWERS, connect},
        send::Sockets,
        target::{Destination, Role, at},
    },
};

/// Until the trace has an outcome after the client has one.
const FOLLOWS: Duration = Duration::from_millis(2500);
/// The same, where the client was answered.
const SOON: Duration = Duration::from_millis(400);

/// An interface of the source's namespace.
pub(super) struct Interface {
    name: String,
    mtu: u32,
    addresses: Vec<IpAddr>,
}

/// Everything that the walk needs.
pub(super) struct Walk {
    plan: Plan,
    cluster: Cluster,
    observed: Rc<Observed>,
    sockets: Sockets,
    interfaces: Vec<Interface>,
    site: Netns,
    timeout: Duration,
    follow: UnboundedSender<Follow>,
    /// Which of DNS and TCP are done: the policies are asked about the flows of both.
    done: Cell<u8>,
}

impl Walk {
    pub(super) fn new(
        config: &ProbeConfig,
        plan: Plan,
        cluster: Cluster,
        observed: &Rc<Observed>,
        trace: &Trace,
        sender: &Sender,
    ) -> Self {
        let all = trace.watch.inventory().iter();
        let own = all.filter(|interface| interface.netns == sender.source.inode);
        let interfaces = own.map(|interface| Interface {
            name: interface.link.name.clone(),
            mtu: interface.link.mtu,
            addresses: interface.addresses.clone(),
        });
        Self {
            sockets: Sockets::new(plan.source.netns.clone()),
            interfaces: interfaces.collect(),
            plan,
            cluster,
            observed: Rc::clone(observed),
            site: sender.site.clone(),
            timeout: config.timeout,
            follow: unbounded_channel().0,
            done: Cell::new(0),
        }
    }

    /// Walks. Each layer is passed on when it is done.
    pub(super) async fn run(
        mut self,
        rows: UnboundedSender<LayerReport>,
        follow: UnboundedSender<Follow>,
    ) -> Result<()> {
        self.follow = follow;
        let rows = Rows::new(rows);
        match self.plan.by_name() {
            true => self.by_name(&rows).await,
            false => {
                let all = self.plan.destinations.all.clone();
                let asked = async {
                    let queries = self.queries().await?;
                    rows.put(self.dns_row(&queries));
                    self.flows_done(&rows);
                    Ok(())
                };
                tokio::try_join!(asked, self.transport(&all, &rows))?;
                Ok(())
            }
        }
    }

    /// The addresses come from DNS first.
    async fn by_name(&self, rows: &Rows) -> Result<()> {
        let queries = self.queries().await?;
        rows.put(self.dns_row(&queries));
        let families = self.plan.source.families;
        let port = self.plan.target.port().unwrap_or_default();
        let usable = |ip: &IpAddr| families[usize::from(ip.is_ipv6())];
        let view = self.cluster.view();
        let found: Vec<Destination> = queries
            .addresses()
            .into_iter()
            .filter(usable)
            .take(MOST_ANSWERS)
            .map(|ip| at(view, ip, port, Role::Front))
            .collect();
        if found.is_empty() {
            self.blocked_by_dns(!queries.addresses().is_empty(), rows);
            return Ok(());
        }
        self.follow(found.iter().map(|one| one.socket.ip()).collect())
            .await;
        self.flows_done(rows);
        self.transport(&found, rows).await
    }

    /// Waits until the trace follows these addresses: nothing is sent to them before.
    async fn follow(&self, addresses: Vec<IpAddr>) {
        let (done, followed) = oneshot::channel();
        if self.follow.send((addresses, done)).is_ok() {
            // Fails only where the probe is ending.
            let _ = followed.await;
        }
    }

    fn dns_row(&self, queries: &Queries) -> LayerReport {
        match &self.plan.dns {
            Ok(plan) => layers::dns::layer(plan, queries),
            Err(reason) => {
                layers::without(Layer::Dns, LayerResult::Skipped, "dig NAME", reason.clone())
            }
        }
    }

    /// The rows that rest on what the trace has seen of all packets before.
    fn traced_rows(&self, tried: &[Tried], rows: &Rows) {
        let (attempts, drops) = (self.observed.attempts(), self.observed.drops());
        let of_tcp: Vec<_> = attempts
            .iter()
            .filter(|one| one.dns.is_none())
            .cloned()
            .collect();
        let seen = traced::rows(&of_tcp, &drops);
        let first = tried
            .iter()
            .find(|one| !one.is_connected())
            .or(tried.first());
        let to = first.map(|one| one.to.socket);
        let ends = |to: Option<std::net::SocketAddr>| match (to, self.plan.source.asked.as_ref()) {
            (Some(to), Some(from)) => format!("--from {from} --to {to}"),
            (Some(to), None) => format!("--from NODE --to {to}"),
            (None, _) => String::new(),
        };
        let firewall = format!("whydrop explain --way {}", ends(to));
        rows.put(traced::layer(Layer::Firewall, &seen, &of_tcp, firewall));
        let test = to.map(connect).unwrap_or_default();
        let overlay = traced::layer(Layer::Overlay, &seen, &of_tcp, test);
        let node = self.plan.source.node.as_deref();
        let placement = Placement::of(tried, node);
        let cross = tried.iter().find(|one| {
            let elsewhere = one.to.node.as_deref().is_some_and(|at| Some(at) != node);
            elsewhere && !one.is_connected()
        });
        let of_cross = cross.and_then(|one| one.attempt.as_ref()?.verdict.clone());
        rows.put(traced::placed(overlay, placement, of_cross));
        let listens = to.map(|to| format!("ss -ltn sport = :{}", to.port()));
        rows.put(traced::layer(
            Layer::Listener,
            &seen,
            &of_tcp,
            listens.unwrap_or_default(),
        ));
    }

    /// Nothing can be sent to the destination: DNS gave no address, or none that the source can send to.
    /// Its queries say something of some layers all the same.
    fn blocked_by_dns(&self, is_resolved: bool, rows: &Rows) {
        let (attempts, drops) = (self.observed.attempts(), self.observed.drops());
        let seen = traced::rows(&attempts, &drops);
        let by = match is_resolved {
            true => "blocked by TCP",
            false => "blocked by DNS",
        };
        for layer in ORDER.into_iter().filter(|layer| *layer != Layer::Dns) {
            let blocked = layers::without(layer, LayerResult::Blocked, "", by);
            rows.put(match layer {
                Layer::Tcp if is_resolved => {
                    let reason = "the name has no address of a family that the source has";
                    layers::without(layer, LayerResult::Failed, "", reason)
                }
                Layer::Policy => policy::layer(self.cluster.view(), &self.flows()),
                Layer::Firewall => {
                    let test = "whydrop explain --way --proto udp";
                    let own = traced::layer(layer, &seen, &attempts, test.to_owned());
                    match own.result {
                        LayerResult::Failed => own,
                        _ => blocked,
                    }
                }
                _ => blocked,
            });
        }
    }

    /// DNS or TCP is done. After both, the policies are asked about each flow.
    fn flows_done(&self, rows: &Rows) {
        self.done.set(self.done.get() + 1);
        if self.done.get() == 2 {
            rows.put(policy::layer(self.cluster.view(), &self.flows()));
        }
    }

    /// The flows that were tried, each once: as it failed, if it did.
    fn flows(&self) -> Vec<policy::Tried> {
        let mut tried: Vec<policy::Tried> = Vec::new();
        for attempt in self.observed.attempts() {
            let flow = attempt.flow;
            let protocol = match attempt.dns {
                Some(_) => Protocol::Udp,
                None => Protocol::Tcp,
            };
            let Some(port) = flow.dport else { continue };
            let one = policy::Tried {
                src: flow.src,
                dst: flow.dst,
                port,
                protocol,
                answered: attempt.outcome == Outcome::Answered,
                verdict: attempt.verdict,
            };
            let same = |known: &policy::Tried| {
                (known.dst, known.port, known.protocol) == (one.dst, one.port, one.protocol)
            };
            match tried.iter_mut().find(|known| same(known)) {
                Some(known) if known.answered && !one.answered => *known = one,
                Some(_) => {}
                None => tried.push(one),
            }
        }
        tried
    }
}
