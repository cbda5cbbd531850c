//! Whole labs, ready to use.

mod node;
mod overlay;
mod router;
mod void;

pub use node::NodeLab;
pub use overlay::{OverlayLab, Underlay};
pub use router::RouterLab;
pub use void::VoidLab;

use super::Namespace;

/// What all topologies have.
pub trait Topology {
    /// Every namespace of the lab, the ones in the middle first.
    fn namespaces(&self) -> Vec<&Namespace>;
}
