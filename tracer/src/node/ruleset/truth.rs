//! Whether a condition holds, where not everything is known.

use super::{
    condition::{Element, Field, Part, Since},
    names::number_of,
    value::Value,
};

/// Three-valued logic; `min` is "and", `max` is "or".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    /// It does not hold.
    No,
    /// It may hold.
    Maybe,
    /// It holds.
    Yes,
}

/// Between a drop and the reading of a set, in seconds: what is older was there.
const YOUNG: u64 = 2;

impl Truth {
    pub(super) fn negated_if(self, negated: bool) -> Self {
        match (self, negated) {
            (Self::No, true) => Self::Yes,
            (Self::Yes, true) => Self::No,
            (truth, _) => truth,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// Whether these values are among the elements.
pub(super) fn among(key: &[Field], values: &[Value<'_>], elements: &[Element]) -> Truth {
    let mut best = Truth::No;
    let mut narrowest: Option<(u128, bool)> = None;
    for element in elements {
        let truth = matches(key, values, element);
        if truth == Truth::Yes {
            // Nothing beats `Yes`, unless there are exceptions.
            if narrowest.is_none() && !elements.iter().any(|element| element.is_exception) {
                return Truth::Yes;
            }
            let widths = element.parts.iter().map(width);
            let width = widths.fold(0, u128::saturating_add);
            if narrowest.is_none_or(|(least, _)| width < least) {
                narrowest = Some((width, element.is_exception));
            }
        }
        best = best.max(truth);
    }
    match (narrowest, best) {
        (Some((_, true)), Truth::Yes) => Truth::No,
        (_, best) => best,
    }
}

fn width(part: &Part) -> u128 {
    match part {
        Part::Range(low, high) => high.saturating_sub(*low),
        _ => u128::MAX,
    }
}

/// Whether these values are the element.
pub(super) fn matches(key: &[Field], values: &[Value<'_>], element: &Element) -> Truth {
    if element.parts.is_empty() {
        return Truth::Yes;
    }
    if element.parts.len() != values.len() {
        return Truth::Maybe;
    }
    let parts = key.iter().zip(values).zip(&element.parts);
    let is_it = parts
        .map(|((field, value), part)| compare(*field, *value, part))
        .min()
        .unwrap_or(Truth::Maybe);
    let was_there = match element.since {
        Since::Forever => Truth::Yes,
        Since::Seconds(age) if age >= YOUNG => Truth::Yes,
        Since::Seconds(_) | Since::Unknown => Truth::Maybe,
    };
    is_it.min(was_there)
}

fn compare(field: Field, value: Value<'_>, part: &Part) -> Truth {
    match (value, part) {
        (Value::Absent, _) => Truth::No,
        (_, Part::Any) => Truth::Yes,
        (Value::Number(number), Part::Range(low, high)) => (*low..=*high).contains(&number).into(),
        (Value::Number(number), Part::Name(name)) => match number_of(field, name) {
            Some(named) => (named == number).into(),
            None => Truth::Maybe,
        },
        (Value::Name(value), Part::Name(name)) => is_named(value, name).into(),
        (Value::Names(values), Part::Name(name)) => one_of(values.iter().copied(), name),
        (Value::Devices(values), Part::Name(name)) => {
            one_of(values.iter().map(String::as_str), name)
        }
        _ => Truth::Maybe,
    }
}

fn is_named(value: &str, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some(start) => value.starts_with(start),
        None => value == name,
    }
}

/// The value is one of several, of which it is not known which.
fn one_of<'a>(values: impl Iterator<Item = &'a str>, name: &str) -> Truth {
    let mut seen = [false; 2];
    for value in values {
        seen[usize::from(is_named(value, name))] = true;
    }
    match seen {
        [false, true] => Truth::Yes,
        [true, true] => Truth::Maybe,
        [_, false] => Truth::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: [Field; 1] = [Field::DestinationPort(None)];

    fn range(low: u128, high: u128, is_exception: bool) -> Element {
        Element {
            is_exception,
            ..Element::of(Part::Range(low, high))
        }
    }

    #[test]
    fn the_narrowest_element_decides_where_there_are_exceptions() {
        let elements = [
            range(0, 100, false),
            range(20, 40, true),
            range(30, 30, false),
        ];
        let holds = |number| among(&PORT, &[Value::Number(number)], &elements);
        assert_eq!(
            [10, 20, 30, 101].map(holds),
            [Truth::Yes, Truth::No, Truth::Yes, Truth::No]
        );
    }

    #[test]
    fn an_element_younger_than_the_drop_proves_nothing() {
        let aged = |since| Element {
            since,
            ..Element::of(Part::number(7u8))
        };
        let holds = |since| matches(&PORT, &[Value::Number(7)], &aged(since));
        assert_eq!(holds(Since::Seconds(YOUNG)), Truth::Yes);
        assert_eq!(holds(Since::Seconds(0)), Truth::Maybe);
        assert_eq!(holds(Since::Unknown), Truth::Maybe);
    }

    #[test]
    fn an_interface_that_does_not_exist_cannot_be_the_one() {
        let devices = ["eth0".to_owned(), "cali1".to_owned(), "cali2".to_owned()];
        let holds = |name: &str| {
            compare(
                Field::Output,
                Value::Devices(&devices),
                &Part::Name(name.to_owned()),
            )
        };
        assert_eq!(holds("ppp0"), Truth::No);
        assert_eq!(holds("eth0"), Truth::Maybe);
        assert_eq!(holds("cali*"), Truth::Maybe);
        assert_eq!(holds("*"), Truth::Yes);
    }
}
