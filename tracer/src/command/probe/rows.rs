//! The layers in the order of the table, whichever is done first.

use std::{cell::RefCell, collections::BTreeMap};

use tokio::sync::mpsc::UnboundedSender;

use crate::model::{Layer, LayerReport};

/// All layers, one on top of the other.
pub(super) const ORDER: [Layer; 9] = [
    Layer::Dns,
    Layer::Tcp,
    Layer::Policy,
    Layer::Firewall,
    Layer::Overlay,
    Layer::Mtu,
    Layer::Listener,
    Layer::Tls,
    Layer::Application,
];

/// Passes on layers in order.
pub(super) struct Rows {
    to: UnboundedSender<LayerReport>,
    waiting: RefCell<(usize, BTreeMap<usize, LayerReport>)>,
}

impl Rows {
    pub(super) fn new(to: UnboundedSender<LayerReport>) -> Self {
        Self {
            to,
            waiting: RefCell::default(),
        }
    }

    /// Takes a layer that is done.
    pub(super) fn put(&self, report: LayerReport) {
        let (next, waiting) = &mut *self.waiting.borrow_mut();
        let place = ORDER.iter().position(|layer| *layer == report.layer);
        waiting.insert(place.unwrap_or(ORDER.len()), report);
        while let Some(report) = waiting.remove(next) {
            *next += 1;
            // The receiver outlives the walk.
            let _ = self.to.send(report);
        }
    }
}
