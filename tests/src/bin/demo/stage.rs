//! Where the stories play.

use anyhow::Result;
use whydrop_tests::lab::{
    Lab, Namespace, Topology,
    topology::{NodeLab, OverlayLab, Underlay},
};

/// Two labs.
pub(crate) struct Stage {
    /// A node with two pods, and a host outside.
    pub(crate) node: NodeLab,
    /// Two nodes with VXLAN between them.
    pub(crate) overlay: OverlayLab,
}

impl Stage {
    /// Builds them.
    pub(crate) fn build() -> Result<Self> {
        Ok(Self {
            node: NodeLab::build_in(&Lab::new()?)?,
            overlay: OverlayLab::build_in(&Lab::new()?, Underlay::Direct)?,
        })
    }

    /// Every namespace in them.
    pub(crate) fn namespaces(&self) -> Vec<&Namespace> {
        let mut all = self.node.namespaces();
        all.extend(self.overlay.namespaces());
        all
    }
}
