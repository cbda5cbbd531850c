//! Loading and attaching the kernel programs, and reading what they send: the only module that
//! knows aya.
//!
//! - [`table`]: which programs there are, and which of them a trace can do without
//! - [`load`]: from the object file into the kernel
//! - [`tc`]: at the interfaces
//! - [`events`], [`log`], [`maps`]: what they send and count
//! - [`held`]: handshakes that stay in the kernel until they fail
//! - [`query`]: which programs others have attached
//!
//! Everything here lives as long as its owner does. Links are file descriptors, nothing is pinned, so
//! the kernel takes it all back when the process ends, however it ends.

mod events;
mod held;
mod ids;
mod load;
mod log;
mod maps;
pub(crate) mod query;
mod table;
mod tc;

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::tp_btf::BtfTracePointLink,
};
use tracer_common::{
    event::{DropCount, DropKey, EarlyHops},
    filter::Member,
};

pub(crate) use self::tc::OUR_FILTER;
pub(crate) use self::{
    events::EventStream,
    load::{Plan, Settings},
    log::LogStream,
    table::{Hook, KFREE_SKB, PROGRAMS, Program, Skipped},
    tc::{Attachment, Churn, Followed, Follower, TcProbes},
};
use self::{
    held::HeldHandshakes,
    ids::Ids,
    load::{function, load, take_map, tracepoint},
    table::try_each,
};
use crate::net::Interface;

/// The loaded programs. A trace has them until they are attached; then they belong to the thread that
/// follows the interfaces, as verifying another one takes a second.
pub(crate) struct Programs {
    ebpf: Ebpf,
    /// The program for drops.
    for_drops: &'static Program,
    /// What is loaded and not attached yet; the classifiers stay here.
    loaded: Vec<&'static Program>,
    /// What is loaded if the packets of all interfaces are to be seen at once.
    everywhere: Vec<&'static Program>,
    /// The tracepoints and functions that are attached to.
    attached: Vec<Hook>,
    skipped: Vec<Skipped>,
    /// Where the tracepoints are in the kernel's BTF.
    tracepoints: Ids,
    /// One word: whether the tracepoints look, and not the classifiers.
    watches_everywhere: Array<MapData, u32>,
}

/// The maps that userspace reads, and the attached program for drops.
pub(crate) struct Probes {
    /// `None` before it is attached, and after the trace.
    at_drops: Option<AtDrops>,
    drops: HashMap<MapData, DropKey, DropCount>,
    tallies: PerCpuArray<MapData, u64>,
    early: Array<MapData, EarlyHops>,
    members: HashMap<MapData, Member, u32>,
    /// One word: whether the counting map has little room left.
    crowded: Array<MapData, u32>,
    held: HeldHandshakes,
}

/// The program for drops, attached.
struct AtDrops {
    program: OwnedFd,
    /// Dropped, the kernel detaches.
    _link: BtfTracePointLink,
}

impl AtDrops {
    fn attach(ebpf: &mut Ebpf, program: &Program) -> Result<Self> {
        let program = tracepoint(ebpf, program)?;
        let link = program.attach()?;
        Ok(Self {
            program: program.fd()?.as_fd().try_clone_to_owned()?,
            _link: program.take_link(link)?,
        })
    }
}

impl Programs {
    /// Attaches to tracepoints and functions. Returns whether to all of them.
    fn attach_to(&mut self, programs: Vec<&'static Program>) -> Result<bool> {
        let wanted = programs.len();
        let attached = try_each(programs, &mut self.skipped, |program| {
            match program.hook {
                Hook::Function(..) => {
                    function(&mut self.ebpf, program)?.attach()?;
                }
                _ => {
                    tracepoint(&mut self.ebpf, program)?.attach()?;
                }
            }
            Ok(())
        })?;
        self.attached.extend(attached.iter().map(|one| one.hook));
        Ok(attached.len() == wanted)
    }

    /// How the packets at this number of interfaces are seen, by what the kernel takes. If that is
    /// by tracepoints, they are attached to.
    ///
    /// # Errors
    ///
    /// A required program is refused, or the map that activates the tracepoints.
    pub(crate) fn attachment(&mut self, interfaces: usize) -> Result<Attachment> {
        let at_each = table::has_classifiers(&self.loaded);
        let attachment = Attachment::suitable(interfaces, at_each, || self.watch_everywhere())?;
        if attachment == Attachment::Tracepoints {
            // Their errors do not matter any more.
            self.skipped
                .retain(|skipped| skipped.program.hook != Hook::Interface);
        }
        Ok(attachment)
    }

    /// Activates the tracepoints, which see the packets of all interfaces, and deactivates the
    /// classifiers. Returns whether the kernel accepts that.
    ///
    /// # Errors
    ///
    /// A required program is refused, or the map that activates the tracepoints.
    fn watch_everywhere(&mut self) -> Result<bool> {
        let watches = self.load_everywhere()? && self.attach_everywhere()?;
        if watches {
            self.watches_everywhere.set(0, 1, 0)?;
        }
        Ok(watches)
    }

    /// Loads the programs that see the packets of all interfaces. Returns whether the kernel accepts
    /// all of them.
    ///
    /// # Errors
    ///
    /// A required program is refused.
    pub(crate) fn load_everywhere(&mut self) -> Result<bool> {
        let kernel = ids::tracepoints(&self.tracepoints)?;
        let programs = std::mem::take(&mut self.everywhere);
        self.everywhere = try_each(programs, &mut self.skipped, |program| {
            load(&mut self.ebpf, program, &kernel)
        })?;
        Ok(self.everywhere.len() == table::everywhere().count())
    }

    fn attach_everywhere(&mut self) -> Result<bool> {
        let programs = std::mem::take(&mut self.everywhere);
        if self.attach_to(programs)? {
            return Ok(true);
        }
        // One direction alone would take each packet for one that vanished.
        for program in table::everywhere() {
            tracepoint(&mut self.ebpf, program)?.unload()?;
            self.attached.retain(|hook| *hook != program.hook);
        }
        Ok(false)
    }

    /// Attaches the classifiers to interfaces. Failures are reported by [`TcProbes::degraded`].
    ///
    /// # Errors
    ///
    /// The classifiers are not loaded, or the kernel refuses to change their map.
    pub(crate) fn attach_classifiers<'a>(
        &mut self,
        tc: &mut TcProbes,
        interfaces: impl IntoIterator<Item = &'a Interface>,
    ) -> Result<()> {
        tc.equip(&mut self.ebpf)?;
        // None looks before all can: where the next hop has no probe yet, an attempt seems to end.
        let word = self.watches_everywhere.get(&0, 0)?;
        self.watches_everywhere.set(0, 1, 0)?;
        tc.attach(interfaces);
        self.watches_everywhere.set(0, word, 0)?;
        Ok(())
    }

    /// The tracepoints and functions that are attached to, as the record `started` names them.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = String> + '_ {
        self.attached.iter().filter_map(|hook| match hook {
            Hook::Tracepoint(name, _) => Some(format!("tp_btf/{name}")),
            Hook::Function(name, _) => Some(format!("fexit/{name}")),
            Hook::Interface => None,
        })
    }

    /// The optional programs that this kernel does not take.
    pub(crate) fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The events of the programs. There is one reader: a second call fails.
    ///
    /// # Errors
    ///
    /// The events were taken before, or there is no runtime to poll them.
    pub(crate) fn events(&mut self) -> Result<EventStream> {
        EventStream::new(RingBuf::try_from(take_map(&mut self.ebpf, "EVENTS")?)?)
    }

    /// Debug messages of the programs, for the `log` crate. Only with [`Settings::debug`].
    ///
    /// # Errors
    ///
    /// The programs do not log, or there is no runtime to poll the messages.
    pub(crate) fn log(&mut self) -> Result<LogStream> {
        LogStream::new(&mut self.ebpf)
    }
}

impl Probes {
    /// The maps of these programs. There is one reader: a second call fails.
    ///
    /// # Errors
    ///
    /// They were taken before.
    pub(crate) fn of(programs: &mut Programs) -> Result<Self> {
        let ebpf = &mut programs.ebpf;
        Ok(Self {
            at_drops: None,
            drops: HashMap::try_from(take_map(ebpf, "DROPS")?)?,
            tallies: PerCpuArray::try_from(take_map(ebpf, "TALLIES")?)?,
            early: Array::try_from(take_map(ebpf, "EARLY")?)?,
            members: HashMap::try_from(take_map(ebpf, "MEMBERS")?)?,
            crowded: Array::try_from(take_map(ebpf, "CROWDED")?)?,
            held: HeldHandshakes::of(ebpf)?,
        })
    }

    /// Attaches the programs: from here on, drops are counted. What is optional and refused is
    /// skipped.
    ///
    /// # Errors
    ///
    /// The kernel refuses a required one.
    pub(crate) fn attach(&mut self, programs: &mut Programs) -> Result<()> {
        let (everywhere, classifiers): (Vec<_>, _) = std::mem::take(&mut programs.loaded)
            .into_iter()
            .partition(|program| program.hook != Hook::Interface);
        programs.loaded = classifiers;
        let for_drops = programs.for_drops;
        let others = everywhere.into_iter().filter(|one| *one != for_drops);
        let others = others.collect();
        programs.attached.push(for_drops.hook);
        let at_drops = AtDrops::attach(&mut programs.ebpf, for_drops);
        let lost = || format!("{} ({})", for_drops.cost, for_drops.hook);
        self.at_drops = Some(at_drops.with_context(lost)?);
        programs.attach_to(others).map(drop)
    }

    /// Stops counting, so that the counts do not move any more. The maps stay.
    pub(crate) fn detach(&mut self) {
        self.at_drops = None;
    }
}

#[cfg(test)]
pub(crate) use self::load::MEMBERS;

#[cfg(test)]
mod tests;
