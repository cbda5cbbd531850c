//! The walk through the layers: what does not depend on another layer is asked at the same time.

mod names;
mod path;
mod session;
mod transport;

use std::{
    cell::Cell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use anyhow::Result;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::{
    Follow,
    rows::{ORDER, Rows},
};
use crate::{
    cli::options::ProbeConfig,
    cluster::{live::Cluster, policy::Protocol},
    model::{AttemptReport, Layer, LayerReport, LayerResult, Outcome, Site, shell::Command},
    node::world::World,
    probe::{
        Plan,
        layers::{
            self,
            dns::Queries,
            mtu::Path,
            placement::Placement,
            policy,
            tcp::Tried,
            traced::{self, Seen},
        },
        observed::Observed,
        plan::{MOST_ANSWERS, command::connect_to},
        send::Sockets,
        target::{Destination, Role, at},
    },
};

/// Until the trace has an outcome after the client has one.
const FOLLOWS: Duration = Duration::from_millis(2500);
/// The same, where the client was answered.
const SOON: Duration = Duration::from_millis(400);

/// Everything that the walk needs.
pub(super) struct Walk {
    plan: Plan,
    cluster: Cluster,
    observed: Rc<Observed>,
    sockets: Sockets,
    world: World,
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
        world: World,
        follow: UnboundedSender<Follow>,
    ) -> Self {
        Self {
            sockets: Sockets::new(plan.source.netns.clone()),
            plan,
            cluster,
            observed: Rc::clone(observed),
            world,
            timeout: config.timeout,
            follow,
            done: Cell::new(0),
        }
    }

    /// Walks. Each layer is passed on when it is done.
    pub(super) async fn run(self, rows: UnboundedSender<LayerReport>) -> Result<()> {
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
            Err(reason) => layers::without(Layer::Dns, LayerResult::Skipped, "", reason.clone()),
        }
    }

    /// The rows that rest on what the trace has seen of all packets: the last of them may be the one that
    /// a rule drops.
    fn traced_rows(&self, tried: &[Tried], paths: &[Path], rows: &Rows) {
        let (attempts, drops) = (self.observed.attempts(), self.observed.drops());
        let of_tcp: Vec<_> = attempts
            .iter()
            .filter(|one| one.dns.is_none())
            .cloned()
            .collect();
        let seen = Seen::of(of_tcp, drops);
        let first = tried
            .iter()
            .find(|one| !one.is_connected())
            .or(tried.first());
        let to = first.map(|one| one.to.socket);
        let way =
            first.and_then(|one| self.way(one.to.socket, one.attempt.as_ref(), Protocol::Tcp));
        let way = way.unwrap_or_default();
        let firewall = seen.layer(Layer::Firewall, way.clone());
        rows.put(traced::searched(firewall, paths, way));
        let test = to.map(|to| self.shown(&connect_to(to))).unwrap_or_default();
        let overlay = seen.layer(Layer::Overlay, test.clone());
        let node = self.plan.source.node.as_deref();
        let placement = Placement::of(tried, node);
        let cross = tried.iter().find(|one| {
            let elsewhere = one.to.node.as_deref().is_some_and(|at| Some(at) != node);
            elsewhere && !one.is_connected()
        });
        let of_cross = cross.and_then(|one| one.attempt.as_ref()?.verdict.clone());
        rows.put(traced::placed(overlay, placement, of_cross, test));
        let listens = to.map(|to| self.listens(to)).unwrap_or_default();
        rows.put(seen.layer(Layer::Listener, listens));
    }

    /// The command, to be run where the probe sends from.
    fn shown(&self, command: &Command) -> String {
        self.plan.source.shown(command)
    }

    /// The command that follows a flow through this node; `None` where its source is not known.
    fn way(
        &self,
        to: SocketAddr,
        attempt: Option<&AttemptReport>,
        protocol: Protocol,
    ) -> Option<String> {
        let own = attempt.map(|one| one.flow.src);
        let from = own.or_else(|| self.plan.source.address_for(to.ip()))?;
        Some(self.plan.way(from, to, protocol).to_string())
    }

    /// The command that shows the listener, where its namespace is on this node; otherwise, the one that
    /// connects to it.
    fn listens(&self, to: SocketAddr) -> String {
        let holders = self.world.holders_near(self.plan.source.inode, to.ip());
        let site = holders.first().map(|holder| self.world.site(holder.netns));
        match site {
            Some(Site::Namespace(netns)) => {
                let port = format!(":{}", to.port());
                netns.there(&Command::new("ss -ltn sport =").arg(port))
            }
            _ => self.shown(&connect_to(to)),
        }
    }

    /// Nothing can be sent to the destination: DNS gave no address, or none that the source can send to.
    /// Its queries say something of some layers all the same.
    fn blocked_by_dns(&self, is_resolved: bool, rows: &Rows) {
        let attempts = self.observed.attempts();
        let seen = Seen::of(attempts.clone(), self.observed.drops());
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
                // That the queries were admitted says nothing of what was to follow.
                Layer::Policy => {
                    let own = policy::layer(&self.plan, self.cluster.view(), &self.flows());
                    match own.result {
                        LayerResult::Failed => own,
                        _ => blocked,
                    }
                }
                Layer::Firewall => {
                    let unanswered = attempts.iter().find(|one| one.outcome != Outcome::Answered);
                    let server = unanswered.and_then(|one| Some((one.flow.dst, one.flow.dport?)));
                    let way = server
                        .and_then(|server| self.way(server.into(), unanswered, Protocol::Udp));
                    let own = seen.layer(layer, way.unwrap_or_default());
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
            rows.put(policy::layer(
                &self.plan,
                self.cluster.view(),
                &self.flows(),
            ));
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
