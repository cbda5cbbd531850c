//! What the programs share with the loader: `.rodata`, counters, and the way to userspace.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
};
use tracer_common::{
    event::{DropCount, DropKey, tally},
    filter::{Filter, Side},
    layout::Layout,
};

/// Where the kernel keeps its fields. Read with volatile loads only: the loader replaces it.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Layout = Layout::UNRESOLVED;

/// Which connection is looked at. Read with volatile loads only: the loader replaces it.
#[unsafe(no_mangle)]
pub(crate) static FILTER: Filter = {
    const ANY: Side = Side {
        address: tracer_common::address::Address::UNSPECIFIED,
        mask: tracer_common::address::Address::UNSPECIFIED,
        has_address: 0,
        port: 0,
    };
    Filter {
        to: ANY,
        from: ANY,
        proto: 0,
        netns_len: 0,
        netns: [0; _],
    }
};

/// Events for userspace. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// The exact count of every matching drop. The loader sets the size.
#[map]
pub(crate) static DROPS: HashMap<DropKey, DropCount> = HashMap::with_max_entries(1024, 0);

/// Counters of [`tally`].
#[map]
static TALLIES: PerCpuArray<u64> = PerCpuArray::with_max_entries(tally::LEN, 0);

/// Adds one to a counter of [`tally`].
#[inline(always)]
pub(crate) fn tally(index: u32) {
    if let Some(counter) = TALLIES.get_ptr_mut(index) {
        // SAFETY: the pointer is this CPU's own slot, which the verifier checked.
        unsafe { *counter += 1 };
    }
}
