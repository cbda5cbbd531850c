//! The running kernel's BTF: field offsets, enums and tracepoint signatures.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use btf_rs::{Backend, Btf, BtfType, Struct, Type};

const DIRECTORY: &str = "/sys/kernel/btf";

/// Modules whose types are asked for. Where they are built in, vmlinux has their types.
const MODULES: [&str; 3] = ["nf_conntrack", "openvswitch", "mac80211"];

/// BTF of vmlinux and of the modules that matter here.
pub(crate) struct KernelBtf {
    vmlinux: Btf,
    modules: Vec<Btf>,
}

impl KernelBtf {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    ///
    /// The kernel has none (built without `CONFIG_DEBUG_INFO_BTF`), or it cannot be read. A module's
    /// BTF that cannot be read is left out: what needed it reports itself as missing.
    pub(crate) fn of_running_kernel() -> Result<Self> {
        let path = Path::new(DIRECTORY).join("vmlinux");
        let vmlinux = Btf::from_file_with_backend(&path, Backend::Mmap)
            .or_else(|_| Btf::from_file(&path))
            .with_context(|| format!("cannot read the kernel's BTF from {}", path.display()))?;
        let modules = MODULES
            .iter()
            .filter_map(|module| {
                Btf::from_split_file(Path::new(DIRECTORY).join(module), &vmlinux).ok()
            })
            .collect();
        Ok(Self { vmlinux, modules })
    }

    /// Byte offset of `struct.field.field…`. Anonymous members are looked into, an array stands for
    /// its first element unless it is `field[N]`. `None` if the kernel has no such field, or it is a bitfield.
    pub(crate) fn offset(&self, path: &str) -> Option<u32> {
        self.all().find_map(|btf| offset(btf, path))
    }

    /// Values and names of an enum; empty if the kernel has no such enum.
    pub(crate) fn enumerators(&self, name: &str) -> BTreeMap<u32, String> {
        self.all()
            .find_map(|btf| enumerators(btf, name))
            .unwrap_or_default()
    }

    /// The id of a tracepoint's type among those of vmlinux; `None` if the kernel does not have the
    /// tracepoint.
    pub(crate) fn tracepoint_id(&self, name: &str) -> Option<u32> {
        let ids = self
            .vmlinux
            .resolve_ids_by_name(&format!("btf_trace_{name}"));
        let is_typedef =
            |id: &u32| matches!(self.vmlinux.resolve_type_by_id(*id), Ok(Type::Typedef(_)));
        ids.ok()?.into_iter().find(is_typedef)
    }

    /// How many arguments a tracepoint has; `None` if the kernel does not have the tracepoint.
    pub(crate) fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let types = self
            .vmlinux
            .resolve_types_by_name(&format!("btf_trace_{name}"))
            .ok()?;
        types.into_iter().find_map(|ty| {
            let Type::Typedef(typedef) = ty else {
                return None;
            };
            let Type::Ptr(pointer) = self.vmlinux.resolve_chained_type(&typedef).ok()? else {
                return None;
            };
            match self.vmlinux.resolve_chained_type(&pointer).ok()? {
                // The first parameter is the tracepoint's own `void *__data`.
                Type::FuncProto(prototype) => prototype.parameters.len().checked_sub(1),
                _ => None,
            }
        })
    }

    /// The id of a function of vmlinux among its types; `None` if the kernel does not have it.
    pub(crate) fn function_id(&self, name: &str) -> Option<u32> {
        let ids = self.vmlinux.resolve_ids_by_name(name).ok()?;
        let is_function =
            |id: &u32| matches!(self.vmlinux.resolve_type_by_id(*id), Ok(Type::Func(_)));
        ids.into_iter().find(is_function)
    }

    /// How many arguments a function of vmlinux has; `None` if the kernel does not have it.
    pub(crate) fn function_arguments(&self, name: &str) -> Option<usize> {
        let types = self.vmlinux.resolve_types_by_name(name).ok()?;
        types.into_iter().find_map(|ty| {
            let Type::Func(function) = ty else {
                return None;
            };
            match self.vmlinux.resolve_chained_type(&function).ok()? {
                Type::FuncProto(prototype) => Some(prototype.parameters.len()),
                _ => None,
            }
        })
    }

    fn all(&self) -> impl Iterator<Item = &Btf> {
        std::iter::once(&self.vmlinux).chain(&self.modules)
    }
}

fn offset(btf: &Btf, path: &str) -> Option<u32> {
    let (name, fields) = path.split_once('.')?;
    let found = btf.resolve_types_by_name(name).ok()?;
    found.into_iter().find_map(|ty| {
        let Type::Struct(start) = ty else { return None };
        let mut ty = Type::Struct(start);
        let mut bits = 0;
        for field in fields.split('.') {
            let (field, index) = match field.split_once('[') {
                Some((field, index)) => (field, index.strip_suffix(']')?.parse().ok()?),
                None => (field, 0),
            };
            let (offset, member) = member(btf, &aggregate(btf, ty)?, field)?;
            bits += offset;
            ty = member;
            if index > 0 {
                // As a reference to an element, it is of the array's own type.
                let size = u32::try_from(aggregate(btf, ty.clone())?.size()).ok()?;
                bits += 8 * size * index;
            }
        }
        (bits % 8 == 0).then_some(bits / 8)
    })
}

/// Finds a member by name, in bits from the struct's start, anonymous members included.
fn member(btf: &Btf, of: &Struct, name: &str) -> Option<(u32, Type)> {
    of.members.iter().find_map(|member| {
        let ty = btf.resolve_chained_type(member).ok()?;
        match btf.resolve_name(member).ok()?.as_str() {
            found if found == name => {
                let is_bitfield = member.bitfield_size().is_some_and(|bits| bits != 0);
                (!is_bitfield).then(|| (member.bit_offset(), ty))
            }
            "" => {
                let (offset, ty) = self::member(btf, &aggregate(btf, ty)?, name)?;
                Some((member.bit_offset() + offset, ty))
            }
            _ => None,
        }
    })
}

/// The struct or union behind typedefs, qualifiers and arrays.
fn aggregate(btf: &Btf, ty: Type) -> Option<Struct> {
    match ty {
        Type::Struct(found) | Type::Union(found) => Some(found),
        Type::Typedef(_)
        | Type::Const(_)
        | Type::Volatile(_)
        | Type::TypeTag(_)
        | Type::Array(_) => {
            let id = ty.as_btf_type()?.get_type_id()?;
            aggregate(btf, btf.resolve_type_by_id(id).ok()?)
        }
        _ => None,
    }
}

fn enumerators(btf: &Btf, name: &str) -> Option<BTreeMap<u32, String>> {
    btf.resolve_types_by_name(name)
        .ok()?
        .into_iter()
        .find_map(|ty| {
            let name = |member: &dyn BtfType| btf.resolve_name(member).ok();
            match ty {
                Type::Enum(found) => found
                    .members
                    .iter()
                    .map(|member| Some((member.val(), name(member)?)))
                    .collect(),
                Type::Enum64(found) => found
                    .members
                    .iter()
                    .map(|member| Some((u32::try_from(member.val()).ok()?, name(member)?)))
                    .collect(),
                _ => None,
            }
        })
}
