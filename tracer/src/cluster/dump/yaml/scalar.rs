//! Plain scalars as kubectl reads them: by YAML 1.1, in which `y` is true and `010` is 8. Go's
//! reader decides what exactly that means (`resolve.go` of go-yaml 2).

use serde_json::{Number, Value};

const TRUE: [&str; 11] = [
    "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON",
];
const FALSE: [&str; 11] = [
    "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF",
];

/// The value of a plain scalar.
pub(super) fn value(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        _ if TRUE.contains(&text) => return Value::Bool(true),
        _ if FALSE.contains(&text) => return Value::Bool(false),
        _ => {}
    }
    let plain = text.replace('_', "");
    if let Some(number) = integer(&plain) {
        return Value::Number(number);
    }
    let number = float(&plain).and_then(Number::from_f64);
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// The key of a mapping that a plain scalar makes: JSON has none but texts. `None` for null.
pub(super) fn key(text: &str) -> Option<String> {
    Some(match value(text) {
        Value::Null => return None,
        Value::String(text) => text,
        Value::Bool(is_true) => is_true.to_string(),
        Value::Number(number) if number.is_f64() => {
            shortest(number.as_f64().unwrap_or_default() as f32)
        }
        other => other.to_string(),
    })
}

/// An integer in one of Go's notations, the base from its prefix.
fn integer(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_negative = text.starts_with('-');
    let (digits, base) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (unsigned.get(2..)?, 16),
        [b'0', b'o' | b'O', ..] => (unsigned.get(2..)?, 8),
        [b'0', b'b' | b'B', ..] => (unsigned.get(2..)?, 2),
        [b'0', _, ..] => (unsigned.get(1..)?, 8),
        _ => (unsigned, 10),
    };
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if is_negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Number::from);
    }
    Some(Number::from(magnitude))
}

/// A decimal number: digits, a point, an exponent.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let fits = |b: u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !begins || !unsigned.bytes().all(fits) {
        return None;
    }
    text.parse().ok()
}

/// A number as Go writes it in the fewest digits that tell it from its neighbors: as a decimal
/// fraction, or with an exponent from a million on and below a ten-thousandth.
fn shortest(number: f32) -> String {
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_kubectl_makes() {
        for (text, expected) in [
            ("y", "true"),
            ("Y", "true"),
            ("yes", "true"),
            ("on", "true"),
            ("True", "true"),
            ("n", "false"),
            ("NO", "false"),
            ("off", "false"),
            ("1.10", "1.1"),
            ("010", "8"),
            ("0x10", "16"),
            ("1_000", "1000"),
            ("1e3", "1000"),
            ("1e6", "1e+06"),
            ("0.00001", "1e-05"),
            ("08", "8"),
            ("-1", "-1"),
            ("app", "app"),
            ("yEs", "yEs"),
            ("1.2.3", "1.2.3"),
            ("0x", "0x"),
            ("2026-01-01", "2026-01-01"),
            ("e3", "e3"),
        ] {
            assert_eq!(key(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(key("~"), None);
    }

    #[test]
    fn values_are_of_the_type_that_kubectl_sees() {
        assert_eq!(value("8080"), Value::from(8080));
        assert_eq!(value("-3"), Value::from(-3));
        assert_eq!(value("on"), Value::from(true));
        assert_eq!(value("web"), Value::from("web"));
        assert_eq!(value("10.0.0.1"), Value::from("10.0.0.1"));
        assert_eq!(value("1.5"), Value::from(1.5));
        assert_eq!(value(""), Value::Null);
    }
}
