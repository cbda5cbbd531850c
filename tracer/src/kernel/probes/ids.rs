//! BTF that has nothing but the tracepoints, or the functions, each with the id that it has in the kernel.
//!
//! aya takes the id of a hook from parsed BTF. That of the whole kernel takes twenty megabytes, at
//! the moment when the kernel itself needs memory to verify the programs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::{Btf, Endianness};

/// Where the tracepoints, or the functions, are among the kernel's types: their ids, by name.
pub(crate) type Ids = BTreeMap<&'static str, u32>;

/// Length of `struct btf_header` (include/uapi/linux/btf.h).
const HEADER_LEN: u32 = 24;
const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// `BTF_KIND_FWD`, `BTF_KIND_TYPEDEF` and `BTF_KIND_FUNC`, at their place in `btf_type.info`.
const FORWARD: u32 = 7 << 24;
const TYPEDEF: u32 = 8 << 24;
const FUNCTION: u32 = 12 << 24;

/// The tracepoints as aya looks for them. Other ids stand for forward declarations without a name.
pub(super) fn tracepoints(ids: &Ids) -> Result<Btf> {
    let bytes = encoded(ids, TYPEDEF, "btf_trace_");
    Btf::parse(&bytes, Endianness::default()).context("cannot name the tracepoints")
}

/// The same of functions. Their ids are larger, so this takes some megabytes for as long as it lives.
pub(super) fn functions(ids: &Ids) -> Result<Btf> {
    let bytes = encoded(ids, FUNCTION, "");
    Btf::parse(&bytes, Endianness::default()).context("cannot name the functions")
}

fn encoded(ids: &Ids, kind: u32, prefix: &str) -> Vec<u8> {
    let by_id: BTreeMap<u32, &str> = ids.iter().map(|(name, id)| (*id, *name)).collect();
    let last = by_id.keys().last().copied().unwrap_or_default();
    let mut strings = vec![0];
    let mut types = Vec::with_capacity(12 * last as usize);
    // 0 is `void`, which is not written.
    for id in 1..=last {
        let (name, info) = match by_id.get(&id) {
            None => (0, FORWARD),
            Some(name) => {
                let at = strings.len() as u32;
                strings.extend(format!("{prefix}{name}\0").bytes());
                (at, kind)
            }
        };
        for word in [name, info, 0] {
            types.extend(word.to_ne_bytes());
        }
    }
    let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
    let mut bytes = Vec::with_capacity(HEADER_LEN as usize + types.len() + strings.len());
    bytes.extend(MAGIC.to_ne_bytes());
    bytes.extend([VERSION, 0]);
    for word in [HEADER_LEN, 0, types_len, types_len, strings_len] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(types);
    bytes.extend(strings);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aya_reads_it() {
        let ids = Ids::from([("kfree_skb", 7), ("net_dev_queue", 3)]);
        assert!(tracepoints(&ids).is_ok());
        assert!(functions(&ids).is_ok());
        assert!(tracepoints(&Ids::new()).is_ok());
    }

    #[test]
    fn each_tracepoint_is_at_its_id() {
        let ids = Ids::from([("kfree_skb", 3), ("net_dev_queue", 2)]);
        let bytes = encoded(&ids, TYPEDEF, "btf_trace_");
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let kinds: Vec<_> = (0..3).map(|index| word(24 + 12 * index + 4)).collect();
        assert_eq!(kinds, [FORWARD, TYPEDEF, TYPEDEF]);
        let names = String::from_utf8_lossy(&bytes[24 + 36..]).into_owned();
        assert_eq!(names, "\0btf_trace_net_dev_queue\0btf_trace_kfree_skb\0");
        assert_eq!(word(24 + 24), 1 + "btf_trace_net_dev_queue\0".len() as u32);
    }
}
