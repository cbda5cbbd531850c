//! The far end of a tunnel by its node's name.

use super::Scene;
use crate::{cluster::owner::Owner, model::Verdict};

/// Which node the tunnel leads to.
pub(super) fn vtep_node(scene: &Scene<'_>, verdict: &mut Verdict) -> bool {
    if let Some(outer) = &scene.outer
        && let Owner::Node {
            name: Some(name), ..
        } = scene.view().owner(outer.dst)
    {
        verdict
            .evidence
            .push(format!("the VTEP {} is node {name}", outer.dst));
    }
    false
}
