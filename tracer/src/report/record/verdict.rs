//! Who lost a packet.

use serde::{Deserialize, Serialize};

use super::{fix::fixes, shaped};
use crate::model::{Confidence, Fix, Point, PolicyDirection, PolicyVerdict, Verdict};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Verdict")]
struct VerdictShape {
    point: Point,
    confidence: Confidence,
    why: String,
    evidence: Vec<String>,
    #[serde(with = "fixes")]
    fix: Vec<Fix>,
    policy: Option<PolicyVerdict>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PolicyVerdict")]
struct PolicyVerdictShape {
    direction: PolicyDirection,
    pod: String,
    policies: Vec<String>,
    missing: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PolicyDirection", rename_all = "lowercase")]
enum PolicyDirectionShape {
    Egress,
    Ingress,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Point", rename_all = "kebab-case")]
enum PointShape {
    Policy,
    Firewall,
    Overlay,
    Mtu,
    Listener,
    Endpoint,
    Route,
    Conntrack,
    Rpfilter,
    Queue,
    Socket,
    Checksum,
    OffNode,
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Confidence", rename_all = "lowercase")]
enum ConfidenceShape {
    Possible,
    Likely,
    Confirmed,
}

shaped!(
    Verdict as VerdictShape,
    PolicyVerdict as PolicyVerdictShape,
    PolicyDirection as PolicyDirectionShape,
    Point as PointShape,
    Confidence as ConfidenceShape,
);
