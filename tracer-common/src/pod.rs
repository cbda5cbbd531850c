//! Lets aya copy the shared types into maps and `.rodata`.

use crate::{event, filter, layout};

// SAFETY: `repr(C)`, plain integers and explicit padding all the way down; every bit pattern is a
// value, and every byte is initialised.
unsafe impl aya::Pod for filter::Filter {}
// SAFETY: as above.
unsafe impl aya::Pod for filter::Member {}
// SAFETY: as above.
unsafe impl aya::Pod for event::StackPolicy {}
// SAFETY: as above.
unsafe impl aya::Pod for filter::Watched {}
// SAFETY: as above.
unsafe impl aya::Pod for layout::Layout {}
// SAFETY: as above.
unsafe impl aya::Pod for event::DropKey {}
// SAFETY: as above.
unsafe impl aya::Pod for event::DropCount {}
// SAFETY: as above.
unsafe impl aya::Pod for event::EarlyHops {}
// SAFETY: as above.
unsafe impl aya::Pod for event::Held {}
// SAFETY: as above.
unsafe impl aya::Pod for event::HeldLog {}
// SAFETY: as above.
unsafe impl aya::Pod for event::Handshake {}
