//! Label selectors, over labels that may be known in part.

use std::fmt;

use super::objects::{Labels, NAMESPACE_NAME};

/// A label selector: all requirements must hold; without any, it selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    /// `matchLabels` first, then `matchExpressions`.
    pub(crate) requirements: Vec<Requirement>,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// The label's key.
    pub(crate) key: String,
    /// What is required of its value.
    pub(crate) operator: Operator,
}

/// What a requirement asks of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operator {
    /// It is there, with one of these values.
    In(Vec<String>),
    /// It is not there, or has another value.
    NotIn(Vec<String>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// The labels of an object, as far as they are known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known<'a> {
    /// All of them.
    All(&'a Labels),
    /// Those of a namespace: all, where its object is known; else only the one that names it.
    Namespace(&'a str, Option<&'a Labels>),
}

impl<'a> Known<'a> {
    /// The value of a label (`Some(None)`: it has no such label), or `None` where that is unknown.
    #[must_use]
    pub(crate) fn get(&self, key: &str) -> Option<Option<&'a str>> {
        match *self {
            Self::All(labels) => Some(labels.get(key).map(String::as_str)),
            Self::Namespace(name, _) if key == NAMESPACE_NAME => Some(Some(name)),
            Self::Namespace(_, labels) => labels.map(|labels| labels.get(key).map(String::as_str)),
        }
    }
}

impl Selector {
    /// Whether it selects these labels; `None` where that hangs on an unknown one.
    #[must_use]
    pub(crate) fn selects(&self, labels: Known<'_>) -> Option<bool> {
        let mut all = Some(true);
        for requirement in &self.requirements {
            match requirement.holds(labels) {
                Some(true) => {}
                // One that fails decides, whatever is unknown.
                Some(false) => return Some(false),
                None => all = None,
            }
        }
        all
    }

    /// Whether it selects everything.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// How the labels that it asks for look on an object: `app=probe, without tier`.
    #[must_use]
    pub(crate) fn seen_on(&self, labels: Known<'_>) -> String {
        let mut seen: Vec<String> = Vec::new();
        for Requirement { key, .. } in &self.requirements {
            let word = match labels.get(key) {
                Some(Some(value)) => format!("{key}={value}"),
                Some(None) => format!("without {key}"),
                None => format!("{key} unknown"),
            };
            if !seen.contains(&word) {
                seen.push(word);
            }
        }
        seen.join(", ")
    }
}

impl Requirement {
    fn holds(&self, labels: Known<'_>) -> Option<bool> {
        let value = labels.get(&self.key)?;
        let among = |values: &[String]| value.is_some_and(|v| values.iter().any(|w| w == v));
        Some(match &self.operator {
            Operator::In(values) => among(values),
            Operator::NotIn(values) => !among(values),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        })
    }
}

/// As `kubectl get --selector` takes it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Requirement { key, operator }) in self.requirements.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            match operator {
                Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Operator::In(values) => write!(f, "{key} in ({})", values.join(","))?,
                Operator::NotIn(values) => write!(f, "{key} notin ({})", values.join(","))?,
                Operator::Exists => f.write_str(key)?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(key: &str, operator: Operator) -> Selector {
        Selector {
            requirements: vec![Requirement {
                key: key.to_owned(),
                operator,
            }],
        }
    }

    #[test]
    fn operators_are_those_of_the_api() {
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        let list = |value: &str| vec!["x".to_owned(), value.to_owned()];
        for (key, operator, expected) in [
            ("app", Operator::In(list("web")), true),
            ("app", Operator::In(list("api")), false),
            ("tier", Operator::In(list("web")), false),
            ("app", Operator::NotIn(list("web")), false),
            ("app", Operator::NotIn(list("api")), true),
            // A label that is not there has no value among them.
            ("tier", Operator::NotIn(list("web")), true),
            ("app", Operator::Exists, true),
            ("tier", Operator::Exists, false),
            ("app", Operator::DoesNotExist, false),
            ("tier", Operator::DoesNotExist, true),
        ] {
            let selector = selector(key, operator);
            assert_eq!(
                selector.selects(Known::All(&labels)),
                Some(expected),
                "{selector}"
            );
        }
        assert_eq!(Selector::default().selects(Known::All(&labels)), Some(true));
    }

    #[test]
    fn a_namespace_is_known_by_its_name_and_nothing_else() {
        let unknown = Known::Namespace("shop", None);
        let named = |name: &str| selector(NAMESPACE_NAME, Operator::In(vec![name.to_owned()]));
        assert_eq!(named("shop").selects(unknown), Some(true));
        assert_eq!(named("prod").selects(unknown), Some(false));
        let mut both = selector("env", Operator::Exists);
        assert_eq!(both.selects(unknown), None);
        both.requirements.extend(named("prod").requirements);
        assert_eq!(both.selects(unknown), Some(false));
        assert_eq!(Selector::default().selects(unknown), Some(true));
        // The API server sets the label, so a file that lost it changes nothing.
        let none = Labels::new();
        let known = Known::Namespace("shop", Some(&none));
        assert_eq!(named("shop").selects(known), Some(true));
    }
}
