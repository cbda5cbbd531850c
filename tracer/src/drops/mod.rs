//! Dropped packets: from the kernel's event to facts, and from facts to a readable stream.
//!
//! - [`decode`]: numbers and bytes become names and a flow
//! - [`noise`]: what healthy traffic drops too
//! - [`fold`]: alike drops become one record, and none is lost in it
//! - [`tracked`]: what conntrack has said of a packet

pub mod decode;
pub mod fold;
pub mod noise;
pub mod tracked;
