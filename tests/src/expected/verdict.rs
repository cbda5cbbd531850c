//! What a verdict must say.

use crate::record::{Confidence, Fix, Verdict};

/// How sure a verdict can be.
const CONFIDENCES: [Confidence; 3] = [
    Confidence::Possible,
    Confidence::Likely,
    Confidence::Confirmed,
];

/// # Panics
///
/// No confidence has this name.
fn confidence(name: &str) -> Confidence {
    let mut all = CONFIDENCES.into_iter();
    all.find(|known| known.name() == name)
        .unwrap_or_else(|| panic!("no confidence {name}"))
}

/// Point, confidence, and words that must be there, or must not.
#[derive(Debug, Clone)]
pub struct ExpectedVerdict {
    points: Vec<&'static str>,
    least: Confidence,
    most: Confidence,
    why: Vec<String>,
    evidence: Vec<String>,
    names: Vec<String>,
    fix: Vec<String>,
    never: Vec<String>,
    policies: Option<Vec<String>>,
    other_fixes: bool,
}

impl ExpectedVerdict {
    /// A verdict of this point and confidence. Fixes that are not asked for must not be there.
    pub fn new(point: &'static str, confidence: &'static str) -> Self {
        Self {
            other_fixes: false,
            ..Self::any_of([point])
                .at_least(confidence)
                .at_most(confidence)
        }
    }

    /// A verdict of one of these points, as sure as it likes, with whatever fixes.
    pub fn any_of(points: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            points: points.into_iter().collect(),
            least: Confidence::Possible,
            most: Confidence::Confirmed,
            why: Vec::new(),
            evidence: Vec::new(),
            names: Vec::new(),
            fix: Vec::new(),
            never: Vec::new(),
            policies: None,
            other_fixes: true,
        }
    }

    /// … at least as sure as this.
    pub fn at_least(self, least: &str) -> Self {
        Self {
            least: confidence(least),
            ..self
        }
    }

    /// … at most as sure as this.
    pub fn at_most(self, most: &str) -> Self {
        Self {
            most: confidence(most),
            ..self
        }
    }

    /// … with these words in the sentence that gives the reason.
    pub fn why(mut self, words: impl Into<String>) -> Self {
        self.why.push(words.into());
        self
    }

    /// … with these words in one sentence of the evidence.
    pub fn evidence(mut self, words: impl Into<String>) -> Self {
        self.evidence.push(words.into());
        self
    }

    /// … that names this, such as an address or an interface, in the reason or in the evidence. It
    /// must stand there by itself: `va` is not named by `value`, nor 10.0.0.1 by 10.0.0.10.
    pub fn names(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// … with these words in one of the fixes.
    pub fn fix(mut self, words: impl Into<String>) -> Self {
        self.fix.push(words.into());
        self
    }

    /// … without any of these words, whichever way they are capitalized.
    pub fn never_says(mut self, words: impl IntoIterator<Item = &'static str>) -> Self {
        self.never
            .extend(words.into_iter().map(str::to_ascii_lowercase));
        self
    }

    /// … with just these NetworkPolicies, `namespace/name` each.
    pub fn policies(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.policies = Some(names.into_iter().map(str::to_owned).collect());
        self
    }

    /// What does not fit, with the verdict; `None` where all fits.
    pub fn mismatch(&self, verdict: &Verdict) -> Option<String> {
        let wrong = self.mismatches(verdict);
        (!wrong.is_empty()).then(|| format!("{}, in {verdict:?}", wrong.join(", ")))
    }

    /// What does not fit.
    pub(crate) fn mismatches(&self, verdict: &Verdict) -> Vec<String> {
        [self.contradictions(verdict), self.missing(verdict)].concat()
    }

    /// What no verdict on the same failure may say, however little it says: another point, or words
    /// that would be wrong.
    pub fn contradictions(&self, verdict: &Verdict) -> Vec<String> {
        let mut wrong = Vec::new();
        if !self.points.contains(&verdict.point.name()) {
            let should = self.points.join(" or ");
            wrong.push(format!(
                "the point is {} and should be {should}",
                verdict.point.name()
            ));
        }
        let texts = [&verdict.why].into_iter().chain(&verdict.evidence);
        let all: String = texts
            .cloned()
            .chain(verdict.fix.iter().map(Fix::text))
            .map(|text| text.to_ascii_lowercase() + "\n")
            .collect();
        let said = self.never.iter().filter(|words| all.contains(*words));
        wrong.extend(said.map(|words| format!("it says {words:?}")));
        wrong
    }

    fn missing(&self, verdict: &Verdict) -> Vec<String> {
        let mut wrong = Vec::new();
        if !(self.least..=self.most).contains(&verdict.confidence) {
            let [is, least, most] =
                [verdict.confidence, self.least, self.most].map(Confidence::name);
            wrong.push(format!("it is {is} and should be {least} to {most}"));
        }
        let why = [verdict.why.clone()];
        let reasons = [&why[..], &verdict.evidence].concat();
        let fixes: Vec<String> = verdict.fix.iter().map(Fix::text).collect();
        let lacks = |texts: &[String], words: &str, says: fn(&str, &str) -> bool| {
            !texts.iter().any(|text| says(text, words))
        };
        for (what, wanted, texts, says) in [
            (
                "why",
                &self.why,
                &why[..],
                contains as fn(&str, &str) -> bool,
            ),
            ("evidence", &self.evidence, &verdict.evidence, contains),
            ("reason or evidence", &self.names, &reasons, names),
            ("fix", &self.fix, &fixes, contains),
        ] {
            let missing = wanted.iter().filter(|words| lacks(texts, words, says));
            wrong.extend(missing.map(|words| format!("no {what} has {words:?}")));
        }
        let policies = verdict.policy.as_ref().map(|policy| &policy.policies);
        if self.policies.is_some() && policies != self.policies.as_ref() {
            let (is, should) = (policies, &self.policies);
            wrong.push(format!("the policies are {is:?} and should be {should:?}"));
        }
        if !self.other_fixes && self.fix.is_empty() && !verdict.fix.is_empty() {
            wrong.push("no fix should be offered".to_owned());
        }
        wrong
    }
}

fn contains(text: &str, words: &str) -> bool {
    text.contains(words)
}

/// Whether a name stands in a text by itself.
fn names(text: &str, name: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + name.len()..].chars();
        let starts = !before.is_some_and(|c| continues(c) || c == '.');
        let ends = match after.next() {
            // A full stop ends a sentence; in `eth0.5` it does not end the name.
            Some('.') => !after.next().is_some_and(continues),
            Some(c) => !continues(c),
            None => true,
        };
        starts && ends
    })
}

#[test]
fn a_name_stands_by_itself() {
    assert!(names("no route to 10.0.0.1: sent", "10.0.0.1"));
    assert!(names("nothing holds 10.0.0.1.", "10.0.0.1"));
    assert!(names("10.0.0.1:8080 is closed", "10.0.0.1"));
    assert!(names("the port (va) is down", "va"));
    assert!(!names("a value", "va"));
    assert!(!names("10.0.0.10", "10.0.0.1"));
    assert!(!names("110.0.0.1", "10.0.0.1"));
    assert!(!names("eth0.5", "eth0"));
    assert!(names("comes in through eth0.", "eth0"));
}
