//! Loading and attaching the kernel programs, and reading what they send: the only module that
//! knows aya.
//!
//! Everything here lives as long as [`Probes`] does. Links are file descriptors, nothing is pinned,
//! so the kernel takes it all back when the process ends, however it ends.

mod events;
mod log;
pub mod query;
mod tc;

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{BtfTracePoint, SchedClassifier},
};
use tracer_common::{
    event::{DropCount, DropKey, EarlyHop, EarlyHops, StackPolicy, tally},
    filter::{Filter, Member, Watched, kind},
    layout::Layout,
};

pub(crate) use self::tc::OUR_FILTER;
pub use self::{
    events::EventStream,
    log::LogStream,
    tc::{Attachment, TcProbes},
};
use super::btf::KernelBtf;
use crate::{
    model::Tallies,
    net::{Change, Interface},
};

/// The tracepoint that every dropped skb passes.
pub const TRACEPOINT: &str = "kfree_skb";
/// Oldest signature first: the tracepoint's number of arguments, and the program for it.
const SIGNATURES: [(usize, &str); 3] = [
    (2, "kfree_skb"),
    (3, "kfree_skb_reason"),
    (4, "kfree_skb_rx_sk"),
];
/// The tracepoint that every retransmitted TCP segment passes, and the program on it.
pub const RETRANSMIT: &str = "tcp_retransmit_skb";
/// The programs at the interfaces.
const TC_INGRESS: &str = "tc_ingress";
const TC_EGRESS: &str = "tc_egress";
/// The tracepoints that the packets of all interfaces pass, in and out, and the programs on them.
pub const EVERYWHERE: [&str; 2] = ["netif_receive_skb", "net_dev_queue"];
/// How many kinds of drops (see [`DropKey`]) are counted apart; 4 MiB of kernel memory.
const DROP_KINDS: u32 = 1 << 14;
/// How many addresses and ports may belong to ends that go by name; 6 MiB of kernel memory, if
/// there is such an end.
const MEMBERS: u32 = 1 << 16;

/// What the programs are loaded with.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Which connection is looked at.
    pub filter: Filter,
    /// Size of the ring buffer, in bytes; a power of two, rounded up to whole pages.
    pub ring_bytes: u32,
    /// Network namespaces whose interfaces are watched, as inode numbers.
    pub watched: Watched,
    /// Which drops carry the kernel stack.
    pub stacks: StackPolicy,
    /// Whether the programs log what they do.
    pub debug: bool,
}

/// Attached programs, and the maps that userspace reads.
pub struct Probes {
    ebpf: Ebpf,
    program: &'static str,
    drops: HashMap<MapData, DropKey, DropCount>,
    tallies: PerCpuArray<MapData, u64>,
    early: Array<MapData, EarlyHops>,
    members: HashMap<MapData, Member, u32>,
}

impl Probes {
    /// Loads the programs for the running kernel. Nothing is attached yet.
    ///
    /// # Errors
    ///
    /// The kernel lacks a required field or the tracepoint, or refuses a map or a program; then the
    /// error ends with what the verifier says.
    pub fn load(settings: &Settings, btf: &KernelBtf) -> Result<Self> {
        let layout = Layout::resolve(|path| btf.offset(path))
            .map_err(|path| anyhow!("this kernel's BTF has no field {path}"))?;
        let program = program_for(btf.tracepoint_arguments(TRACEPOINT))?;
        let level: u8 = if settings.debug {
            aya_log::Level::Debug as u8
        } else {
            0
        };
        let ends = [settings.filter.to, settings.filter.from];
        let has_sets = ends.iter().any(|side| side.kind == kind::SET);
        let mut ebpf = EbpfLoader::new()
            .override_global("LAYOUT", &layout, true)
            .override_global("FILTER", &settings.filter, true)
            .override_global("WATCHED", &settings.watched, true)
            .override_global("STACKS", &settings.stacks, true)
            .override_global(aya_log::LEVEL, &level, false)
            .map_max_entries("EVENTS", settings.ring_bytes)
            .map_max_entries("DROPS", DROP_KINDS)
            .map_max_entries("MEMBERS", if has_sets { MEMBERS } else { 1 })
            .load(aya::include_bytes_aligned!(concat!(
                env!("OUT_DIR"),
                "/whydrop-ebpf"
            )))
            .context("cannot load the kernel programs' maps")?;
        let kernel = Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
        tracepoint(&mut ebpf, program)?
            .load(TRACEPOINT, &kernel)
            .with_context(|| format!("the kernel refuses the program {program}"))?;
        for program in [TC_INGRESS, TC_EGRESS] {
            let found = ebpf
                .program_mut(program)
                .with_context(|| format!("no program {program}"))?;
            let classifier: &mut SchedClassifier = found.try_into()?;
            classifier
                .load()
                .with_context(|| format!("the kernel refuses the program {program}"))?;
        }
        tracepoint(&mut ebpf, RETRANSMIT)?
            .load(RETRANSMIT, &kernel)
            .with_context(|| format!("the kernel refuses the program {RETRANSMIT}"))?;
        let drops = HashMap::try_from(take_map(&mut ebpf, "DROPS")?)?;
        let tallies = PerCpuArray::try_from(take_map(&mut ebpf, "TALLIES")?)?;
        let early = Array::try_from(take_map(&mut ebpf, "EARLY")?)?;
        let members = HashMap::try_from(take_map(&mut ebpf, "MEMBERS")?)?;
        Ok(Self {
            ebpf,
            program,
            drops,
            tallies,
            early,
            members,
        })
    }

    /// Attaches the programs: from here on, drops are counted.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn attach(&mut self) -> Result<()> {
        for (program, tracepoint_name) in [(self.program, TRACEPOINT), (RETRANSMIT, RETRANSMIT)] {
            tracepoint(&mut self.ebpf, program)?
                .attach()
                .with_context(|| format!("cannot attach to the tracepoint {tracepoint_name}"))?;
        }
        Ok(())
    }

    /// Attaches the classifiers to interfaces. Failures are told by [`TcProbes::degraded`].
    ///
    /// # Errors
    ///
    /// The classifiers are not loaded.
    pub fn attach_classifiers<'a>(
        &mut self,
        tc: &mut TcProbes,
        interfaces: impl IntoIterator<Item = &'a Interface>,
    ) -> Result<()> {
        tc.attach(&mut self.ebpf, interfaces)
    }

    /// Attaches the classifiers to new interfaces, and lets go of those that have gone.
    ///
    /// # Errors
    ///
    /// The classifiers are not loaded.
    pub fn follow_interfaces(&mut self, tc: &mut TcProbes, changes: &[Change]) -> Result<()> {
        tc.follow(&mut self.ebpf, changes)
    }

    /// Stops the programs, so that the counts do not move any more. The maps stay.
    ///
    /// # Errors
    ///
    /// None that is known of: the kernel has no reason to refuse.
    pub fn detach(&mut self) -> Result<()> {
        Ok(tracepoint(&mut self.ebpf, self.program)?.unload()?)
    }

    /// The events of the programs. There is one reader: a second call fails.
    ///
    /// # Errors
    ///
    /// The events were taken before, or there is no runtime to poll them.
    pub fn events(&mut self) -> Result<EventStream> {
        EventStream::new(RingBuf::try_from(take_map(&mut self.ebpf, "EVENTS")?)?)
    }

    /// Debug messages of the programs, for the `log` crate. Only with [`Settings::debug`].
    ///
    /// # Errors
    ///
    /// The programs do not log, or there is no runtime to poll the messages.
    pub fn log(&mut self) -> Result<LogStream> {
        LogStream::new(&mut self.ebpf)
    }

    /// The exact count of one kind of drop; 0 if there was none.
    pub fn count(&self, key: &DropKey) -> u64 {
        self.drops.get(key, 0).map_or(0, |found| found.count)
    }

    /// How many kinds of drops the kernel can count.
    pub fn room_for_kinds(&self) -> usize {
        DROP_KINDS as usize
    }

    /// Lets the kernel forget a kind of drop, if no more were counted than `told`. A drop of that
    /// kind in the very microsecond between the look and the removal would be lost; hence only for
    /// kinds that have been idle.
    pub fn forget(&mut self, key: &DropKey, told: u64) -> bool {
        self.count(key) == told && self.drops.remove(key).is_ok()
    }

    /// The exact counts of all drops.
    pub fn counts(&self) -> impl Iterator<Item = (DropKey, DropCount)> + '_ {
        self.drops.iter().flatten()
    }

    /// Sightings of a SYN or a DNS query from before it matched the filter, by
    /// [`tracer_common::event::handshake_key`].
    pub fn early_hops(&self, key: u64) -> Vec<EarlyHop> {
        let found = self.early.get(&EarlyHops::place(key), 0).ok();
        found
            .map(|hops| hops.of(key).copied().collect())
            .unwrap_or_default()
    }

    /// Puts entries into the sets of the filter, and takes others out. In this order, so that what
    /// stays in a set is in it all the time.
    ///
    /// # Errors
    ///
    /// There are more than the map holds.
    pub fn change_members(
        &mut self,
        put: impl IntoIterator<Item = (Member, u32)>,
        gone: impl IntoIterator<Item = Member>,
    ) -> Result<()> {
        for (member, value) in put {
            self.members
                .insert(member, value, 0)
                .context("the filter has room for 65536 addresses and ports of names")?;
        }
        for member in gone {
            // It may never have fitted in.
            let _ = self.members.remove(&member);
        }
        Ok(())
    }

    /// The kernel's counters of what it could not send or count.
    pub fn tallies(&self) -> Tallies {
        let sum = |index| {
            self.tallies
                .get(&index, 0)
                .map_or(0, |per_cpu| per_cpu.iter().sum())
        };
        Tallies {
            uncounted: sum(tally::UNCOUNTED),
            lost: sum(tally::LOST),
            malformed: sum(tally::MALFORMED),
            skipped: self.skipped_runs().unwrap_or(0),
        }
    }

    /// `recursion_misses` of the program (since 5.12): runs that the kernel skipped.
    fn skipped_runs(&self) -> Option<u64> {
        let program: &BtfTracePoint = self.ebpf.program(self.program)?.try_into().ok()?;
        let fd = program.fd().ok()?.as_fd().as_raw_fd();
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        info.lines()
            .find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
    }
}

/// The program for a tracepoint with this many arguments. A later kernel may add more at the end.
fn program_for(arguments: Option<usize>) -> Result<&'static str> {
    let arguments =
        arguments.with_context(|| format!("this kernel's BTF has no tracepoint {TRACEPOINT}"))?;
    let fitting = SIGNATURES
        .iter()
        .rev()
        .find(|(needed, _)| *needed <= arguments);
    let (_, program) = fitting.with_context(|| {
        format!("the tracepoint {TRACEPOINT} has {arguments} arguments, at least 2 are needed")
    })?;
    Ok(program)
}

fn tracepoint<'a>(ebpf: &'a mut Ebpf, program: &str) -> Result<&'a mut BtfTracePoint> {
    let found = ebpf
        .program_mut(program)
        .with_context(|| format!("no program {program}"))?;
    Ok(found.try_into()?)
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the map {name} is missing or already taken"))
}

#[cfg(test)]
mod tests;
