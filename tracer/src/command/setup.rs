//! The start of a trace: load, attach, and get to know the node.

use std::{collections::BTreeSet, net::IpAddr, time::SystemTime};

use anyhow::{Error, Result, bail};
use tracer_common::filter::{Filter, Watched};

use super::{
    interfaces::InterfaceProbes,
    shell::{Outlet, Shell},
};
use crate::{
    cli::options::TraceConfig,
    cluster::source::Sources,
    decode::drop::Decoder,
    engine::{DropOptions, Engine, FilterNames, Input, Settings as EngineSettings},
    kernel::{
        btf::KernelBtf,
        budget::{Budget, Memory},
        clock,
        preflight::Preflight,
        probes::{EventStream, LogStream, Plan, Probes, Programs, Settings, TcProbes},
        reasons::Reasons,
        symbols,
    },
    model::Started,
    net::{Change, Watch, netns::Namespace},
    node::conntrack::baseline,
};

/// Addresses that a record may hold: a node has two, and each of its pods has two.
const MOST_ADDRESSES: usize = 2048;

/// What a trace is set up with.
pub(super) struct Setup<'a> {
    pub(super) config: &'a TraceConfig,
    /// Which packets the kernel programs report.
    pub(super) filter: Filter,
    /// The ends of the filter that go by name.
    pub(super) names: FilterNames,
    /// The namespaces whose interfaces are watched; none for this process's own.
    pub(super) netns: &'a [String],
    /// The sources of cluster knowledge: started before, they have the time that loading takes.
    pub(super) sources: Sources,
    pub(super) outlet: Box<dyn Outlet>,
}

/// A trace whose probes are attached.
pub(super) struct Trace {
    pub(super) shell: Shell,
    pub(super) events: EventStream,
    pub(super) watch: Watch,
    pub(super) interfaces: InterfaceProbes,
    pub(super) sources: Sources,
    pub(super) log: Option<LogStream>,
    kernel: String,
    /// The number of interfaces with probes.
    watched: usize,
    /// Whether the probes see all packets of all interfaces.
    complete: bool,
    hooks: Vec<String>,
    degraded: Vec<String>,
}

impl Trace {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    ///
    /// The trace cannot start; the message says what is missing and how to get it.
    pub(super) fn attach(setup: Setup<'_>) -> Result<Self> {
        let Setup {
            config,
            filter,
            names,
            netns,
            sources,
            outlet,
        } = setup;
        let reading = symbols::Reading::start();
        let btf = KernelBtf::of_running_kernel();
        let preflight = Preflight::look(&btf);
        if let Some(blocker) = preflight.blocker() {
            bail!(
                "{}: {}; {}\n  {}",
                blocker.name,
                blocker.found,
                blocker.cost,
                blocker.fix
            );
        }
        let btf = btf?;

        let memory = Memory::here();
        let at_once = memory.is_ample();
        let budget = memory.budget(config.memory);
        let budget = Budget::of(budget.map_err(Error::msg)?).with_ring(config.ring_bytes);
        let namespaces = Namespace::of(netns)?;
        baseline::read(&namespaces);
        let reasons = Reasons::read(&btf);
        let plan = Plan::of(&btf)?;
        // The kernel needs memory now, to verify the programs.
        drop(btf);
        let mut programs = Programs::load(
            &Settings {
                filter,
                watched: watched(&namespaces),
                budget,
                stacks: reasons.stacks(config.stack),
                answered_rate: config.answered_rate,
                debug: config.debug,
                at_once,
            },
            plan,
        )?;
        let mut probes = Probes::of(&mut programs)?;
        let events = programs.events()?;
        let log = config.debug.then(|| programs.log()).transpose()?;
        // Already in `degraded` where it fails: drops are shown all the same, without function names.
        let symbols = reading.finish().unwrap_or_default();
        let decoder = Decoder::new(reasons, symbols, clock::now());

        let watch = Watch::start(&namespaces)?;
        probes.attach(&mut programs)?;
        let attachment = programs.attachment(watch.inventory().iter().count())?;
        let mut tc = TcProbes::new(&namespaces, attachment);
        programs.attach_classifiers(&mut tc, watch.inventory().iter())?;
        let preflight = preflight.without(programs.skipped());
        let tc_hook = tc.attachment().hook().map(str::to_owned);
        let hooks = programs.hooks().chain(tc_hook).collect();

        let timeout = config.timeout.as_nanos().try_into().unwrap_or(u64::MAX / 2);
        let engine = Engine::new(EngineSettings {
            drops: DropOptions {
                noise: config.noise,
                stack: config.stack,
                by_port_alone: config.is_by_port_alone(),
                limit: config.count,
                capacity: budget.drop_kinds as usize,
            },
            attempts: budget.attempts,
            timeout,
            names,
            has_ends: config.to.is_some() || config.from.is_some(),
            blind_spots: preflight.blind_spots(),
            clock: decoder.clock(),
            node: config.node_name.clone(),
            most_records: config.most_records,
        });
        // The engine looks at an attempt after a quarter of the timeout for the first time.
        let patience = timeout / 4;
        let mut shell = Shell::new(engine, probes, decoder, outlet, patience, config.ticks);
        let present = watch.inventory().iter().cloned();
        shell.feed(Input::Interfaces(present.map(Change::Appeared).collect()))?;
        shell.feed(Input::Unwatched(tc.degraded()))?;
        if let Some(unread) = tc.unread() {
            shell.note(unread);
        }
        Ok(Self {
            kernel: preflight.kernel.clone(),
            watched: tc.len(),
            complete: tc.degraded().is_none() && preflight.blind_spots().is_empty(),
            hooks,
            degraded: preflight
                .degraded()
                .into_iter()
                .chain(tc.degraded())
                .collect(),
            shell,
            events,
            watch,
            interfaces: InterfaceProbes::new(tc, programs)?,
            sources,
            log,
        })
    }

    /// Says that everything is attached.
    pub(super) fn announce(&mut self, config: &TraceConfig) -> Result<()> {
        let degraded = std::mem::take(&mut self.degraded);
        let names = self.shell.engine.names();
        let filter = config.filter_description(|name| names.whereabouts(name));
        let addresses = self.addresses();
        let node = self.shell.engine.node().or_else(host_name);
        self.shell.started(Started {
            ts: SystemTime::now(),
            kernel: self.kernel.clone(),
            interfaces: self.watched,
            hooks: std::mem::take(&mut self.hooks),
            complete: self.complete,
            degraded,
            filter,
            scope: Some(config.scope()),
            node,
            addresses,
        })
    }

    /// The namespaces whose interfaces are watched, by inode number.
    pub(super) fn watched(&self) -> BTreeSet<u32> {
        let interfaces = self.watch.inventory().iter();
        interfaces.map(|interface| interface.netns).collect()
    }

    /// The addresses by which packets from other nodes come here, as far as they are watched.
    fn addresses(&self) -> Vec<IpAddr> {
        let interfaces = self.watch.inventory().iter();
        let own = interfaces.flat_map(|interface| interface.addresses.iter().copied());
        let own: BTreeSet<_> = own.filter(|address| is_reachable(*address)).collect();
        own.into_iter().take(MOST_ADDRESSES).collect()
    }
}

fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

/// The namespaces as the kernel programs look for them.
fn watched(namespaces: &[Namespace]) -> Watched {
    let mut watched = Watched::NOTHING;
    for (place, namespace) in watched.netns.iter_mut().zip(namespaces) {
        *place = namespace.inode;
    }
    watched
}
