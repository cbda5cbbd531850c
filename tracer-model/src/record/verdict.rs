//! Who lost a packet.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{fix::fixes, shaped};
use crate::{Confidence, Fix, Point, PolicyDirection, PolicyVerdict, Refuted, RuleName, Verdict};

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
    rule: Option<RuleName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refuted: Vec<Refuted>,
    /// It says nothing that the sentence does not say.
    #[serde(skip)]
    subject: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Refuted")]
struct RefutedShape {
    rule: RuleName,
    because: String,
}

impl Serialize for RuleName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RuleName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
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
    Dns,
    Tls,
    Application,
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
    Refuted as RefutedShape,
    PolicyVerdict as PolicyVerdictShape,
    PolicyDirection as PolicyDirectionShape,
    Point as PointShape,
    Confidence as ConfidenceShape,
);
