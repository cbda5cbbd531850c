//! Whole labs, ready to use.

mod cluster;
mod node;
mod overlay;
mod router;
mod void;

pub use cluster::ClusterLab;
pub use node::NodeLab;
pub use overlay::{OverlayLab, Underlay};
pub use router::RouterLab;
pub use void::VoidLab;

use std::net::IpAddr;

use super::Namespace;

/// What all topologies have.
pub trait Topology {
    /// How it looks: a drawing in text.
    fn drawing(&self) -> &'static str;

    /// Every namespace of the lab, the ones in the middle first.
    fn namespaces(&self) -> Vec<&Namespace>;

    /// What to try in it by hand, in this order.
    fn hints(&self) -> Vec<Hint>;
}

/// Something to try by hand.
pub struct Hint {
    /// What for.
    pub purpose: &'static str,
    /// The command line.
    pub command: String,
}

impl Hint {
    /// A command in one of the namespaces.
    fn inside(namespace: &Namespace, purpose: &'static str, command: &str) -> Self {
        Self {
            purpose,
            command: format!("ip netns exec {} {command}", namespace.name()),
        }
    }

    /// A connection attempt: port 8080, three seconds of patience.
    fn connect(from: &Namespace, purpose: &'static str, to: IpAddr) -> Self {
        Self::inside(from, purpose, &format!("nc -vz -w 3 {to} 8080"))
    }
}
