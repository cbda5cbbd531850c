//! From the object file into the kernel: which programs this kernel takes, and with what settings.

use std::{collections::BTreeMap, thread};

use anyhow::{Context as _, Result, anyhow};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, Map},
    programs::{BtfTracePoint, FExit, SchedClassifier},
};
use tracer_common::{
    event::StackPolicy,
    filter::{Filter, Watched, kind},
    layout::Layout,
};

use super::{
    Programs,
    ids::{self, Ids},
    table::{self, Hook, KFREE_SKB, Program, Skipped, When},
};
use crate::kernel::{
    btf::KernelBtf,
    budget::{self, Budget},
    memory,
};

/// How many addresses and ports may belong to ends that go by name; 6 MiB of kernel memory, if
/// there is such an end.
pub(crate) const MEMBERS: u32 = 1 << 16;

/// What the programs are loaded with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Which connection is looked at.
    pub(crate) filter: Filter,
    /// The sizes of the maps.
    pub(crate) budget: Budget,
    /// Network namespaces whose interfaces are watched, as inode numbers.
    pub(crate) watched: Watched,
    /// Which drops carry the kernel stack.
    pub(crate) stacks: StackPolicy,
    /// How many answered handshakes a second are reported one by one; the others are counted.
    pub(crate) answered_rate: u64,
    /// Whether the programs log what they do.
    pub(crate) debug: bool,
    /// Whether there is memory to verify several programs at once: each takes as much as it would alone.
    pub(crate) at_once: bool,
}

impl Settings {
    /// For a look at what the kernel takes, without a trace.
    pub(crate) fn trial() -> Self {
        Self {
            filter: Filter::default(),
            budget: Budget::of(budget::LEAST),
            watched: Watched::NOTHING,
            stacks: StackPolicy::default(),
            answered_rate: 0,
            debug: false,
            at_once: false,
        }
    }
}

/// Which programs fit the running kernel, and where its fields are. Nothing else of its BTF is needed to
/// load them.
#[derive(Debug)]
pub(crate) struct Plan {
    layout: Layout,
    fitting: Vec<&'static Program>,
    skipped: Vec<Skipped>,
    tracepoints: Ids,
    functions: Ids,
}

impl Plan {
    /// What the kernel's BTF says.
    ///
    /// # Errors
    ///
    /// The kernel lacks a required field or hook.
    pub(crate) fn of(btf: &KernelBtf) -> Result<Self> {
        let layout = Layout::resolve(|path| btf.offset(path))
            .map_err(|path| anyhow!("this kernel's BTF has no field {path}"))?;
        let (fitting, skipped) = table::fitting(|hook| match hook {
            Hook::Tracepoint(name, _) => btf.tracepoint_arguments(name),
            Hook::Function(name, _) => btf.function_arguments(name),
            Hook::Interface => None,
        })?;
        let names = fitting.iter().filter_map(|one| one.hook.tracepoint());
        let tracepoints = names.filter_map(|name| Some((name, btf.tracepoint_id(name)?)));
        let tracepoints = tracepoints.collect();
        let names = fitting.iter().filter_map(|one| one.hook.function());
        let functions = names.filter_map(|name| Some((name, btf.function_id(name)?)));
        let functions = functions.collect();
        Ok(Self {
            layout,
            fitting,
            skipped,
            tracepoints,
            functions,
        })
    }
}

impl Programs {
    /// Loads the programs for the running kernel. Nothing is attached yet. What is optional and
    /// cannot be loaded is skipped: see [`Programs::skipped`].
    ///
    /// # Errors
    ///
    /// The kernel refuses a map or a required program; then the error ends with what the verifier says.
    pub(crate) fn load(settings: &Settings, plan: Plan) -> Result<Self> {
        let Plan {
            layout,
            fitting,
            mut skipped,
            tracepoints,
            functions,
        } = plan;
        let mut ebpf = with_settings(settings, &layout)?;
        // What parsing BTF took, here and for the plan.
        memory::give_back();
        let kernel = ids::tracepoints(&tracepoints)?;
        let (at_functions, others): (Vec<_>, Vec<_>) = fitting
            .into_iter()
            .partition(|program| program.hook.function().is_some());
        let (now, everywhere): (Vec<_>, _) = others
            .into_iter()
            .partition(|program| program.when == When::Always);
        let mut loaded = match settings.at_once {
            true => load_at_once(&mut ebpf, now, &kernel, &mut skipped)?,
            false => table::try_each(now, &mut skipped, |program| {
                load(&mut ebpf, program, &kernel)
            })?,
        };
        let for_drops = |program: &&Program| matches!(program.hook, Hook::Tracepoint(KFREE_SKB, _));
        drop(kernel);
        memory::give_back();
        if !at_functions.is_empty() {
            // Small programs, so the kernel needs little memory beside this.
            let kernel = ids::functions(&functions)?;
            loaded.extend(table::try_each(at_functions, &mut skipped, |program| {
                load(&mut ebpf, program, &kernel)
            })?);
            drop(kernel);
            memory::give_back();
        }
        let drops = loaded.iter().copied().find(for_drops);
        Ok(Self {
            watches_everywhere: Array::try_from(take_map(&mut ebpf, "EVERYWHERE")?)?,
            for_drops: drops.context("no program for drops")?,
            attached: Vec::new(),
            loaded,
            everywhere,
            skipped,
            tracepoints,
            ebpf,
        })
    }
}

fn with_settings(settings: &Settings, layout: &Layout) -> Result<Ebpf> {
    let level: u8 = if settings.debug {
        aya_log::Level::Debug as u8
    } else {
        0
    };
    let ends = [settings.filter.to, settings.filter.from];
    let has_sets = ends.iter().any(|side| side.kind == kind::SET);
    EbpfLoader::new()
        // It would be kept in memory. The programs need no relocation: see `Layout`.
        .btf(None)
        .override_global("LAYOUT", layout, true)
        .override_global("FILTER", &settings.filter, true)
        .override_global("WATCHED", &settings.watched, true)
        .override_global("STACKS", &settings.stacks, true)
        .override_global("PLACES", &settings.budget.held, true)
        .override_global("ANSWERED_RATE", &settings.answered_rate, true)
        .override_global(aya_log::LEVEL, &level, false)
        .map_max_entries("EVENTS", settings.budget.ring_bytes)
        .map_max_entries("DROPS", settings.budget.drop_kinds)
        .map_max_entries("HANDSHAKES", settings.budget.handshakes)
        .map_max_entries("HELD_LOGS", settings.budget.held)
        .map_max_entries("HELD_TAKEN", settings.budget.held)
        .map_max_entries("LEARNED", settings.budget.handshakes)
        .map_max_entries("MEMBERS", if has_sets { MEMBERS } else { 1 })
        .load(aya::include_bytes_aligned!(concat!(
            env!("OUT_DIR"),
            "/whydrop-ebpf"
        )))
        .context("cannot load the kernel programs' maps")
}

/// Loads programs on a thread each: nearly all of the time of a start is the verifier's.
fn load_at_once(
    ebpf: &mut Ebpf,
    programs: Vec<&'static Program>,
    kernel: &Btf,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<&'static Program>> {
    let mut results = thread::scope(|scope| {
        let loads = ebpf.programs_mut().filter_map(|(name, loaded)| {
            let program = programs.iter().find(|one| one.name == name)?;
            let load = scope.spawn(move || load_into(loaded, program, kernel));
            Some((program.name, load))
        });
        // All are under way before the first is waited for.
        let loads: Vec<_> = loads.collect();
        let ended = loads.into_iter().map(|(name, load)| {
            let result = load.join();
            (
                name,
                result.unwrap_or_else(|_| Err(anyhow!("its loader panicked"))),
            )
        });
        ended.collect::<BTreeMap<_, _>>()
    });
    table::try_each(programs, skipped, |program| {
        let result = results.remove(program.name);
        result.with_context(|| format!("no program {}", program.name))?
    })
}

/// Loads one program.
pub(super) fn load(ebpf: &mut Ebpf, program: &Program, kernel: &Btf) -> Result<()> {
    let found = ebpf
        .program_mut(program.name)
        .with_context(|| format!("no program {}", program.name))?;
    load_into(found, program, kernel)
}

fn load_into(found: &mut aya::programs::Program, program: &Program, kernel: &Btf) -> Result<()> {
    match program.hook {
        Hook::Tracepoint(name, _) => {
            let tracepoint: &mut BtfTracePoint = found.try_into()?;
            tracepoint.load(name, kernel)?;
        }
        Hook::Function(name, _) => {
            let function: &mut FExit = found.try_into()?;
            function.load(name, kernel)?;
        }
        Hook::Interface => {
            let classifier: &mut SchedClassifier = found.try_into()?;
            classifier.load()?;
        }
    }
    Ok(())
}

pub(super) fn tracepoint<'a>(
    ebpf: &'a mut Ebpf,
    program: &Program,
) -> Result<&'a mut BtfTracePoint> {
    let found = ebpf
        .program_mut(program.name)
        .with_context(|| format!("no program {}", program.name))?;
    Ok(found.try_into()?)
}

pub(super) fn function<'a>(ebpf: &'a mut Ebpf, program: &Program) -> Result<&'a mut FExit> {
    let found = ebpf
        .program_mut(program.name)
        .with_context(|| format!("no program {}", program.name))?;
    Ok(found.try_into()?)
}

pub(super) fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name)
        .with_context(|| format!("the map {name} is missing or already taken"))
}
