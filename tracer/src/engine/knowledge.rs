//! What is known around the packets, and how the parts of the engine get at it.

use std::{cell::OnceCell, collections::HashMap, net::IpAddr, time::SystemTime};

use super::{
    Nanos,
    effect::Effect,
    excess::Excess,
    interfaces::Interfaces,
    queries::{Purpose, Queries},
    visibility::Visibility,
};
use crate::{
    attempt::Reported,
    cluster::{
        history::Holder,
        live::Cluster,
        owner::Owner,
        update::{Change, Update},
    },
    decode::drop::DropFacts,
    model::{AttemptReport, Clock, DropReport, Fix, Flow, Netns, NetnsName, Report, Site, Verdict},
    net,
    node::query::Query,
    report::accounts::Accounts,
};

/// What is known around the packets.
#[derive(Debug)]
pub(super) struct Knowledge {
    clock: Clock,
    /// What the user calls this node.
    node: Option<String>,
    /// What it is called, until something is learned that may change that.
    known_as: OnceCell<Option<String>>,
    /// Pods, Services and policies, as far as the sources have reported them.
    pub(super) cluster: Cluster,
    interfaces: Interfaces,
    pub(super) netns: NetnsNames,
    visibility: Visibility,
    pub(super) queries: Queries,
    accounts: Accounts,
    pub(super) excess: Excess,
}

/// The names of network namespaces, by inode number.
#[derive(Debug, Default)]
pub(super) struct NetnsNames {
    names: HashMap<u32, NetnsName>,
}

/// What is known at one input, and where the effects of that input go.
pub(super) struct Context<'a> {
    /// When the input was handed in.
    pub(super) now: Nanos,
    pub(super) clock: &'a Clock,
    node: Option<&'a str>,
    known_as: &'a OnceCell<Option<String>>,
    pub(super) cluster: &'a Cluster,
    pub(super) interfaces: &'a Interfaces,
    pub(super) netns: &'a NetnsNames,
    pub(super) visibility: &'a mut Visibility,
    pub(super) queries: &'a mut Queries,
    pub(super) accounts: &'a mut Accounts,
    pub(super) excess: &'a mut Excess,
    pub(super) effects: &'a mut Vec<Effect>,
}

impl Knowledge {
    pub(super) fn new(
        clock: Clock,
        node: Option<String>,
        blind_spots: Vec<String>,
        most_records: Option<u64>,
    ) -> Self {
        Self {
            clock,
            node,
            known_as: OnceCell::new(),
            cluster: Cluster::default(),
            interfaces: Interfaces::default(),
            netns: NetnsNames::default(),
            visibility: Visibility::new(blind_spots),
            queries: Queries::default(),
            accounts: Accounts::default(),
            excess: Excess::new(most_records),
        }
    }

    pub(super) fn context<'a>(
        &'a mut self,
        now: Nanos,
        effects: &'a mut Vec<Effect>,
    ) -> Context<'a> {
        Context {
            now,
            clock: &self.clock,
            node: self.node.as_deref(),
            known_as: &self.known_as,
            cluster: &self.cluster,
            interfaces: &self.interfaces,
            netns: &self.netns,
            visibility: &mut self.visibility,
            queries: &mut self.queries,
            accounts: &mut self.accounts,
            excess: &mut self.excess,
            effects,
        }
    }

    /// Takes what the sources of cluster knowledge report.
    pub(super) fn learn(&mut self, updates: Vec<Update>, now: Nanos, effects: &mut Vec<Effect>) {
        let at = self.clock.wall(now);
        self.known_as.take();
        for update in updates {
            if let Change::Note(note) = &update.change {
                effects.push(Effect::Note(note.clone()));
            }
            self.cluster.apply(update, at);
        }
    }

    /// Events lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.visibility.lost
    }

    /// Takes what has changed about the interfaces.
    pub(super) fn see(&mut self, changes: Vec<net::Change>) {
        self.known_as.take();
        self.interfaces.apply(changes);
    }

    /// What this node is called: as the user says, or else as the cluster does.
    pub(super) fn node(&self) -> Option<String> {
        let find = || this_node(self.node.as_deref(), &self.cluster, &self.interfaces);
        self.known_as.get_or_init(find).clone()
    }
}

/// What this node is called: as the user says, or else as the cluster calls the node that has an
/// address of a watched interface.
fn this_node(named: Option<&str>, cluster: &Cluster, interfaces: &Interfaces) -> Option<String> {
    if let Some(named) = named {
        return Some(named.to_owned());
    }
    let is_here = |ip: &IpAddr| interfaces.holder(*ip).is_some();
    let mut nodes = cluster.view().nodes();
    let here = nodes.find(|node| node.ips.iter().any(is_here))?;
    Some(here.name.clone())
}

impl NetnsNames {
    pub(super) fn learn(&mut self, names: Vec<(u32, NetnsName)>) {
        self.names.extend(names);
    }

    /// The name of a namespace, if it has one, for reading.
    pub(super) fn text(&self, inode: u32) -> Option<String> {
        self.names.get(&inode).map(ToString::to_string)
    }

    /// Says where the fix is to be done: in the namespace that it names, or else in the one that
    /// lost the packet.
    pub(super) fn place(&self, fix: &mut Fix, lost_in: Option<u32>) {
        match fix.site {
            Site::Namespace(Netns::Nameless(inode)) => {
                fix.site = Site::Namespace(self.of_fix(Some(inode)));
            }
            _ => fix.resolve(&self.of_fix(lost_in)),
        }
    }

    /// The namespace, as a fix has it.
    fn of_fix(&self, inode: Option<u32>) -> Netns {
        let Some(inode) = inode else {
            return Netns::Unresolved;
        };
        let name = self.names.get(&inode).cloned();
        name.map_or(Netns::Nameless(inode), Netns::Known)
    }
}

impl Context<'_> {
    /// The time of day.
    pub(super) fn time_of_day(&self) -> SystemTime {
        self.clock.wall(self.now)
    }

    /// The pod whose namespace it is, by the container runtime or by an address in it.
    pub(super) fn pod_in(&self, netns: u32, at: Nanos) -> Option<String> {
        let by_runtime = self.cluster.pod_of_netns(netns).map(|pod| &pod.id);
        if let Some(id) = by_runtime {
            return Some(id.to_string());
        }
        let then = self.clock.wall(at);
        let mut addresses = self.interfaces.addresses_in(netns);
        addresses.find_map(|address| match self.cluster.holder(address, then)? {
            Holder::Pod(pod) => Some(pod.id.to_string()),
            Holder::Former(..) => None,
        })
    }

    /// Whether a dropped packet was in a tunnel that a node of the cluster has sent.
    pub(super) fn is_from_node(&self, facts: &DropFacts) -> bool {
        let owner = |outer: Flow| self.cluster.view().owner(outer.src);
        matches!(facts.outer.map(owner), Some(Owner::Node { .. }))
    }

    /// What this node is called: as the user says, or else as the cluster does.
    pub(super) fn node(&self) -> Option<String> {
        let find = || this_node(self.node, self.cluster, self.interfaces);
        self.known_as.get_or_init(find).clone()
    }

    pub(super) fn ask(&mut self, purpose: Purpose, query: Query) {
        self.queries.ask(purpose, query, self.effects);
    }

    pub(super) fn report(&mut self, report: Report) {
        self.effects.push(Effect::Report(report));
    }

    /// Reports a drop. Returns whether it is shown, and not only counted.
    pub(super) fn report_drop(&mut self, drop: DropReport) -> bool {
        self.accounts.drop(&drop);
        let is_shown = self.excess.shows_drop(&drop, self.time_of_day(), self.now);
        if is_shown {
            self.report(Report::Drop(Box::new(drop)));
        }
        is_shown
    }

    /// Reports another verdict on drops that were reported with the one `before`.
    pub(super) fn correct_drop(&mut self, mut drop: DropReport, before: &Verdict, count: u64) {
        self.accounts.correct_drop(before, &drop, count);
        drop.corrects = Some(before.point);
        if self.excess.shows_drop(&drop, self.time_of_day(), self.now) {
            self.report(Report::Drop(Box::new(drop)));
        }
    }

    /// Reports what was too much to show; at the end, all that is left of it.
    pub(super) fn report_excess(&mut self, is_end: bool) {
        for more in self.excess.due(self.now, is_end) {
            self.report(Report::More(more));
        }
    }

    /// Reports an attempt, in place of what was reported of it before. `is_of_drop` says that its
    /// verdict is that of a drop, which was reported itself.
    pub(super) fn report_attempt(
        &mut self,
        attempt: AttemptReport,
        is_of_drop: bool,
        corrected: Option<Reported>,
    ) {
        let taken_back = corrected.filter(|before| !before.is_of_drop);
        if let Some(verdict) = taken_back.and_then(|before| before.verdict) {
            self.accounts.take_back(&verdict);
        }
        self.accounts.attempt(&attempt, is_of_drop);
        let at = self.time_of_day();
        if self.excess.shows_attempt(&attempt, at, self.now) {
            self.report(Report::Attempt(Box::new(attempt)));
        }
    }
}
