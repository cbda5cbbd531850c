//! The records of a trace, read strictly: a key that the contract promises must be there, `null`
//! or not.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Deserializer};

use crate::traffic;

/// One line of `whydrop -o json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// Everything is attached.
    Started(Started),
    /// One dropped packet, or several alike.
    Drop(Box<Drop>),
    /// One connection attempt whose fate is known.
    Attempt(Box<Attempt>),
    /// Events that could not be shown.
    Lost(Lost),
    /// The last record.
    Summary(Box<Summary>),
    /// A kind that the contract has gained since.
    #[serde(other)]
    Other,
}

impl Record {
    /// The drop, if it is one.
    pub fn as_drop(&self) -> Option<&Drop> {
        match self {
            Self::Drop(drop) => Some(drop),
            _ => None,
        }
    }

    /// The attempt, if it is one.
    pub fn as_attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Attempt(attempt) => Some(attempt),
            _ => None,
        }
    }
}

/// Everything is attached.
#[derive(Debug, Clone, Deserialize)]
pub struct Started {
    /// The kernel's release.
    pub kernel: String,
    /// Interfaces with tc probes.
    pub interfaces: usize,
    /// The hooks that are attached.
    pub hooks: Vec<String>,
    /// What cannot be shown here.
    pub degraded: Vec<String>,
    /// The filter, as text.
    pub filter: String,
}

/// One dropped packet, or several alike.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Drop {
    pub ts: String,
    pub flow: Flow,
    #[serde(deserialize_with = "null_or")]
    pub original_dst: Option<String>,
    #[serde(deserialize_with = "null_or")]
    pub outer: Option<Flow>,
    #[serde(deserialize_with = "null_or")]
    pub quoted: Option<Flow>,
    #[serde(deserialize_with = "null_or")]
    pub packet: Option<Packet>,
    pub reason: String,
    #[serde(deserialize_with = "null_or")]
    pub function: Option<String>,
    #[serde(deserialize_with = "null_or")]
    pub hook: Option<String>,
    #[serde(deserialize_with = "null_or")]
    pub ifname: Option<String>,
    #[serde(deserialize_with = "null_or")]
    pub netns: Option<u32>,
    #[serde(deserialize_with = "null_or")]
    pub netns_name: Option<String>,
    pub count: u64,
    #[serde(deserialize_with = "null_or")]
    pub src_pod: Option<Pod>,
    #[serde(deserialize_with = "null_or")]
    pub dst_pod: Option<Pod>,
    #[serde(deserialize_with = "null_or")]
    pub dst_owner: Option<String>,
    #[serde(default)]
    pub stack: Option<Vec<String>>,
    pub verdict: Verdict,
}

impl fmt::Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            flow,
            original_dst,
            outer,
            reason,
            function,
            hook,
            ifname,
            netns_name,
            count,
            verdict,
            ..
        } = self;
        let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
        write!(
            f,
            "{count}× {flow}: {reason} @{}, hook {}, {} in {}",
            or_null(function),
            or_null(hook),
            or_null(ifname),
            or_null(netns_name)
        )?;
        if let Some(original_dst) = original_dst {
            write!(f, ", before DNAT to {original_dst}")?;
        }
        if let Some(outer) = outer {
            write!(f, ", inside {outer}")?;
        }
        write!(f, ", {verdict:?}")
    }
}

/// One connection attempt whose fate is known.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Attempt {
    pub ts: String,
    pub flow: Flow,
    #[serde(deserialize_with = "null_or")]
    pub original_dst: Option<String>,
    #[serde(deserialize_with = "null_or")]
    pub translated: Option<Flow>,
    pub outcome: String,
    #[serde(deserialize_with = "null_or")]
    pub corrects: Option<String>,
    pub syns: u64,
    pub waited_ms: u64,
    #[serde(deserialize_with = "null_or")]
    pub isn: Option<u32>,
    #[serde(deserialize_with = "null_or")]
    pub dns: Option<Dns>,
    #[serde(deserialize_with = "null_or")]
    pub tls: Option<String>,
    #[serde(deserialize_with = "null_or")]
    pub by: Option<String>,
    pub hops: Vec<Hop>,
    pub reply_hops: Vec<Hop>,
    #[serde(deserialize_with = "null_or")]
    pub verdict: Option<Verdict>,
    #[serde(deserialize_with = "null_or")]
    pub dst_owner: Option<String>,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            flow,
            outcome,
            corrects,
            syns,
            waited_ms,
            by,
            ..
        } = self;
        write!(f, "{flow}: {outcome} after {waited_ms} ms, {syns} sent")?;
        if let Some(corrects) = corrects {
            write!(f, ", corrects {corrects}")?;
        }
        if let Some(by) = by {
            write!(f, ", by {by}")?;
        }
        for (way, hops) in [("there", &self.hops), ("back", &self.reply_hops)] {
            write!(f, "\n    {way}:")?;
            for hop in hops {
                write!(f, " {hop};")?;
            }
        }
        if let Some(verdict) = &self.verdict {
            let Verdict {
                point,
                confidence,
                why,
                evidence,
                ..
            } = verdict;
            write!(f, "\n    {point} ({confidence}): {why}\n    {evidence:?}")?;
        }
        Ok(())
    }
}

/// One sighting of a packet on its way.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Hop {
    pub ifname: String,
    pub netns: u32,
    #[serde(deserialize_with = "null_or")]
    pub netns_name: Option<String>,
    pub dir: String,
    pub at_us: u64,
    pub times: u64,
    #[serde(deserialize_with = "null_or")]
    pub flow: Option<Flow>,
    #[serde(deserialize_with = "null_or")]
    pub outer: Option<Flow>,
    pub mtu: u32,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let netns = self.netns_name.as_deref().unwrap_or("null");
        write!(f, "{netns} {} {}", self.ifname, self.dir)?;
        if let Some(outer) = &self.outer {
            write!(f, " inside {outer}")?;
        }
        Ok(())
    }
}

/// A DNS question and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Dns {
    pub question: String,
    pub qtype: String,
    #[serde(deserialize_with = "null_or")]
    pub rcode: Option<String>,
}

/// A flow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Flow {
    pub proto: String,
    pub src: IpAddr,
    #[serde(deserialize_with = "null_or")]
    pub sport: Option<u16>,
    pub dst: IpAddr,
    #[serde(deserialize_with = "null_or")]
    pub dport: Option<u16>,
}

impl From<traffic::Flow> for Flow {
    fn from(flow: traffic::Flow) -> Self {
        Self {
            proto: flow.protocol.to_string(),
            src: flow.src.ip(),
            sport: Some(flow.src.port()),
            dst: flow.dst.ip(),
            dport: Some(flow.dst.port()),
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = |port: Option<u16>| port.map_or_else(|| "-".to_owned(), |port| port.to_string());
        write!(
            f,
            "{} {} {} → {} {}",
            self.proto,
            self.src,
            port(self.sport),
            self.dst,
            port(self.dport)
        )
    }
}

/// Figures of one dropped packet.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Packet {
    pub len: u32,
    #[serde(deserialize_with = "null_or")]
    pub tcp_flags: Option<String>,
    #[serde(deserialize_with = "null_or")]
    pub seq: Option<u32>,
}

/// Who dropped it, and how that is known.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Verdict {
    pub point: String,
    pub confidence: String,
    pub why: String,
    pub evidence: Vec<String>,
    pub fix: Vec<String>,
    pub policy: Option<Policy>,
}

/// A Kubernetes pod.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    #[serde(deserialize_with = "null_or")]
    pub node: Option<String>,
    pub labels: BTreeMap<String, String>,
}

impl Pod {
    /// `namespace/name`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The NetworkPolicies that refused a flow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Policy {
    pub direction: String,
    pub pod: String,
    pub policies: Vec<String>,
    pub missing: String,
}

/// Events that could not be shown.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Lost {
    pub events: u64,
    #[serde(rename = "where")]
    pub place: String,
}

/// The last record.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Summary {
    pub drops: u64,
    pub shown: u64,
    pub lost: u64,
    pub noise: u64,
    pub malformed: u64,
    pub attempts: BTreeMap<String, u64>,
    pub untracked: u64,
    pub layers: Vec<Layer>,
    #[serde(deserialize_with = "null_or")]
    pub verdict: Option<Verdict>,
}

/// One row of the table at the end of a trace.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the contract describes the keys")]
pub struct Layer {
    pub layer: String,
    pub result: String,
    #[serde(deserialize_with = "null_or")]
    pub evidence: Option<String>,
    #[serde(deserialize_with = "null_or")]
    pub verdict: Option<String>,
}

/// Without it, serde would take an `Option`'s missing key for `null`.
fn null_or<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer)
}
