//! What is written can be read again, and nothing is lost on the way.

use serde_json::Value;

use super::{read, write};
use crate::sink::fixtures;

#[test]
fn each_report_comes_back_from_its_json() {
    for report in fixtures::all() {
        let line = write(&report).expect("JSON");
        let back = read(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(write(&back).expect("JSON"), line);
    }
}

/// Absent knowledge may also be absent: traces of other versions have other fields.
#[test]
fn a_field_that_is_not_there_is_not_known() {
    for report in fixtures::all() {
        let line = write(&report).expect("JSON");
        let mut json: Value = serde_json::from_str(&line).expect("JSON");
        strip_nulls(&mut json);
        json["future"] = Value::from(1);
        let back = read(&json.to_string()).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(write(&back).expect("JSON"), line);
    }
}

fn strip_nulls(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}
