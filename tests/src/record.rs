//! The records of a trace, in the types that whydrop writes them from. Their names here are the
//! contract's.

use anyhow::{Context as _, Result, ensure};
use tracer_model::record;
pub use tracer_model::{
    AttemptReport as Attempt, Confidence, Direction, Dns, DropReport as Drop, Fix, Flow, Hook, Hop,
    Layer, LayerReport, LayerResult, Outcome, Pod, Point, PolicyDirection, PolicyVerdict as Policy,
    Protocol, Report as Record, Summary, Verdict,
};

use crate::traffic;

/// One line of `whydrop -o json`, read strictly: nothing is missing in it, and there is nothing
/// that the types do not hold.
pub fn read(line: &str) -> Result<Record> {
    #[derive(serde::Deserialize)]
    struct Number {
        seq: u64,
    }
    let record = record::read(line).with_context(|| format!("no record: {line}"))?;
    let Number { seq } = serde_json::from_str(line).with_context(|| format!("no seq: {line}"))?;
    let again = record::write(&record, seq)?;
    ensure!(again == line, "{line} was read as {again}");
    Ok(record)
}

/// A record as error messages show it: its JSON.
pub fn shown(record: &impl serde::Serialize) -> String {
    serde_json::to_string(record).unwrap_or_else(|error| error.to_string())
}

impl From<traffic::Protocol> for Protocol {
    fn from(protocol: traffic::Protocol) -> Self {
        match protocol {
            traffic::Protocol::Tcp => Self::Tcp,
            traffic::Protocol::Udp => Self::Udp,
        }
    }
}

impl From<traffic::Flow> for Flow {
    fn from(flow: traffic::Flow) -> Self {
        Self {
            proto: flow.protocol.into(),
            src: flow.src.ip(),
            sport: Some(flow.src.port()),
            dst: flow.dst.ip(),
            dport: Some(flow.dst.port()),
        }
    }
}
