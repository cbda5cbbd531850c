//! The answer, as its JSON has it.

use serde::Serialize;

use crate::{
    cluster::view::View,
    model::Verdict,
    policy::{Answer, Flow, Outcome, Side, near_misses, traps},
    verdict::explain::judge,
};

/// How many of the flows that stand for one are named, where they differ.
const CASES: usize = 10;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether the flow passes; `None` if undecidable.
    pub(super) allowed: Option<bool>,
    /// The source's side.
    pub(super) egress: SideReport,
    /// The destination's side.
    pub(super) ingress: SideReport,
    /// What refuses it; `None` if nothing does.
    pub(super) verdict: Option<Verdict>,
    /// What else is odd, a sentence each.
    pub(super) warnings: Vec<String>,
    /// The flow in words, for the text.
    #[serde(skip)]
    pub(super) flow: String,
}

/// One side of the answer.
#[derive(Debug, Serialize)]
pub(super) struct SideReport {
    /// `namespace/name`; `None` where there is no pod that policies could isolate.
    pub(super) pod: Option<String>,
    /// Whether policies isolate it.
    pub(super) isolated: Option<bool>,
    /// Whether this side lets the flow pass.
    pub(super) allowed: Option<bool>,
    /// The policies that select the pod for this direction.
    pub(super) policies: Vec<String>,
    /// Those of them that admit the flow.
    pub(super) admitted_by: Vec<String>,
    /// The rule that would admit it, in words.
    pub(super) missing: Option<String>,
    /// Why it is undecidable.
    pub(super) undecidable_because: Option<String>,
    /// Why it passes though no rule admits it.
    pub(super) exempt_because: Option<String>,
    /// How near each rule comes to admitting it, the nearest first.
    pub(super) near_misses: Vec<String>,
}

impl Report {
    /// The report on a flow, or on several that stand for one; there is at least one.
    pub(super) fn new(
        view: &View,
        judged: &[(Flow<'_>, Answer)],
        mut warnings: Vec<String>,
    ) -> Self {
        // The one that does not pass says most.
        let rank = |answer: &Answer| match answer.allowed {
            Some(false) => 0,
            None => 1,
            Some(true) => 2,
        };
        let first = judged.iter().min_by_key(|(_, answer)| rank(answer));
        let (flow, answer) = first.expect("a question has a flow");
        let agreed = judged
            .iter()
            .all(|(_, other)| other.allowed == answer.allowed);
        let mut egress = SideReport::new(&answer.egress);
        let mut ingress = SideReport::new(&answer.ingress);
        if !agreed {
            let each = judged.iter().map(|(flow, answer)| one(flow, answer));
            let each: Vec<String> = each.take(CASES).collect();
            let because = format!("it depends: {}", each.join("; "));
            warnings.extend(each);
            for (side, judged) in [
                (&mut egress, &answer.egress),
                (&mut ingress, &answer.ingress),
            ] {
                if judged.allowed() != Some(true) {
                    side.allowed = None;
                    side.undecidable_because = Some(because.clone());
                }
            }
        }
        let allowed = if agreed { answer.allowed } else { None };
        let mut all = warnings;
        all.extend(traps::warnings(view, flow, answer));
        Self {
            allowed,
            egress,
            ingress,
            verdict: match allowed {
                Some(false) => judge(view, flow, answer),
                _ => None,
            },
            warnings: all,
            flow: words(flow),
        }
    }
}

impl SideReport {
    fn new(side: &Side) -> Self {
        let names = |ids: &[_]| ids.iter().map(ToString::to_string).collect();
        let undecidable = side.outcome == Outcome::Undecidable;
        Self {
            pod: side.pod.as_ref().map(ToString::to_string),
            isolated: side.isolated,
            allowed: side.allowed(),
            policies: names(&side.policies),
            admitted_by: names(&side.admitted_by),
            missing: side.missing.clone(),
            undecidable_because: side.because.clone().filter(|_| undecidable),
            exempt_because: side.because.clone().filter(|_| !undecidable),
            near_misses: near_misses(side),
        }
    }
}

fn words(flow: &Flow<'_>) -> String {
    let port = flow.port.map(|port| format!(" {port}")).unwrap_or_default();
    format!("{} → {}, {}{port}", flow.src, flow.dst, flow.protocol)
}

fn one(flow: &Flow<'_>, answer: &Answer) -> String {
    let what = match answer.allowed {
        Some(true) => "is admitted",
        Some(false) => "is not",
        None => "undecidable",
    };
    format!("{} {what}", words(flow))
}
