//! The JSON contract (schema 1): how each report is written as one line of JSON, and read again.
//!
//! The types are those of the model. Here is the shape that each of them has in JSON: a struct or an
//! enum beside it, with the same fields, which the compiler holds against it. Whatever is not known
//! is `null`, never a guess. Addresses are strings, ports are numbers in host byte order.

mod attempt;
mod drop;
mod fix;
mod flow;
mod path;
mod probe;
mod summary;
mod time;
mod trace;
mod verdict;

use crate::Report;

/// A report as JSON, without a newline. `seq` is its number in the trace, from 1 on.
///
/// # Errors
///
/// It holds a time that JSON cannot hold.
pub fn write(report: &Report, seq: u64) -> serde_json::Result<String> {
    #[derive(serde::Serialize)]
    struct Numbered<'a> {
        #[serde(flatten)]
        report: &'a Report,
        seq: u64,
    }

    serde_json::to_string(&Numbered { report, seq })
}

/// A report from its JSON.
///
/// # Errors
///
/// The text is no report of this schema.
pub fn read(line: &str) -> serde_json::Result<Report> {
    serde_json::from_str(line)
}

/// The number of a report in its trace. `None` in a recording of an older version.
pub fn number(line: &str) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Number {
        seq: u64,
    }

    let number: Number = serde_json::from_str(line).ok()?;
    Some(number.seq)
}

/// Makes types of the model take the JSON of their shapes.
macro_rules! shaped {
    ($($model:ty as $shape:ty),+ $(,)?) => {$(
        impl serde::Serialize for $model {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$shape>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $model {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <$shape>::deserialize(from)
            }
        }
    )+};
}

/// Makes types of the model take the JSON of their text.
macro_rules! as_text {
    ($($model:ty),+ $(,)?) => {$(
        impl serde::Serialize for $model {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $model {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

use {as_text, shaped};
