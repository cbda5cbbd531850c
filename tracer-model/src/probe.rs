//! What a probe sends, and what it found at each layer.

use std::{net::IpAddr, time::SystemTime};

use super::{Layer, LayerResult, LayerRow, Protocol, Verdict};

/// Everything that a probe will send, reported before any of it is sent.
#[derive(Debug, Clone)]
pub struct PlanReport {
    /// When it was made.
    pub ts: SystemTime,
    /// The source, as the command line has it; `None` for this node.
    pub from: Option<String>,
    /// The destination, as the command line has it.
    pub to: String,
    /// The network namespace that everything is sent from, in words.
    pub netns: String,
    /// What will be sent, in the order of the layers.
    pub sends: Vec<Sending>,
    /// The layers that send nothing, and why.
    pub skips: Vec<Skip>,
}

/// Packets of one kind to one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// The layer that they test.
    pub layer: Layer,
    /// The protocol.
    pub proto: Protocol,
    /// The destination; `None` for addresses that are not known yet, or of which one is chosen.
    pub dst: Option<IpAddr>,
    /// At most so many addresses, where `dst` is `None`.
    pub addresses: Option<u32>,
    /// The destination port.
    pub dport: Option<u16>,
    /// At most this many connections, queries or echo requests to each address.
    pub most: u32,
    /// At most this many segments on all of these connections to one address, besides those that open
    /// and close them; `None` where nothing but the layer's own exchange is sent.
    pub segments: Option<u32>,
    /// The command that sends the like.
    pub test: String,
}

/// A layer that is not tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The layer.
    pub layer: Layer,
    /// The reason.
    pub reason: String,
}

/// What a probe found at one layer.
#[derive(Debug, Clone)]
pub struct LayerReport {
    /// When the last of its tests had ended.
    pub ts: SystemTime,
    /// The layer.
    pub layer: Layer,
    /// The test that decides, as a command.
    pub test: String,
    /// The result of all its tests together.
    pub result: LayerResult,
    /// What the result rests on, or the reason why it was skipped.
    pub evidence: Option<String>,
    /// What is to blame.
    pub verdict: Option<Verdict>,
    /// The tests, where there are several.
    pub tests: Vec<LayerTest>,
}

/// One of several tests of a layer.
#[derive(Debug, Clone)]
pub struct LayerTest {
    /// The test, as a command.
    pub test: String,
    /// Its result.
    pub result: LayerResult,
    /// What the result rests on.
    pub evidence: Option<String>,
    /// What is to blame.
    pub verdict: Option<Verdict>,
}

impl LayerReport {
    /// The layer in one row of a table.
    pub fn row(&self) -> LayerRow {
        LayerRow {
            layer: self.layer,
            test: self.test.clone().into(),
            result: self.result,
            evidence: self.evidence.clone(),
            verdict: self.verdict.as_ref().map(Verdict::in_short),
        }
    }
}

impl LayerTest {
    /// The test as a row of its layer.
    pub fn row(&self, layer: Layer) -> LayerRow {
        LayerRow {
            layer,
            test: self.test.clone().into(),
            result: self.result,
            evidence: self.evidence.clone(),
            verdict: self.verdict.as_ref().map(Verdict::in_short),
        }
    }
}
