//! Records for programs: one JSON object a line.

use std::{fmt::Write as _, io};

use super::{Sink, text::is_unsafe};
use crate::{model::Report, report::record};

/// Renders records as JSON lines, numbered from 1 on.
#[derive(Debug, Default)]
pub(super) struct Json {
    written: u64,
}

impl Sink for Json {
    fn report(&mut self, record: &Report) -> io::Result<String> {
        self.written += 1;
        Ok(render(record, self.written)?)
    }
}

/// One line, with its newline.
fn render(record: &Report, seq: u64) -> serde_json::Result<String> {
    let json = record::write(record, seq)?;
    let mut line = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        // JSON allows DEL, C1 and bidirectional controls raw in strings (and these cannot stand
        // elsewhere), but the lines may be viewed in a terminal.
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::fixtures, *};

    #[test]
    fn each_record_is_one_line_that_says_its_kind() {
        for record in fixtures::all() {
            let line = render(&record, 1).expect("serialisable");
            assert_eq!(line.matches('\n').count(), 1);
            let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert!(
                value["kind"].is_string() && value["ts"].is_string(),
                "{line}"
            );
        }
    }

    /// Below these keys, the names are the data's.
    const OF_DATA: [&str; 2] = ["labels", "attempts"];

    fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(object) => {
                for (key, value) in object {
                    found.insert(key.clone());
                    if !OF_DATA.contains(&key.as_str()) {
                        keys(value, found);
                    }
                }
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_documentation_has_every_key() {
        let documented = [
            include_str!("../../../docs/json.md"),
            include_str!("../../../docs/join.md"),
        ];
        let mut found = BTreeSet::new();
        for record in fixtures::all() {
            let line = render(&record, 1).expect("serialisable");
            keys(&serde_json::from_str(&line).expect("JSON"), &mut found);
        }
        assert!(found.len() > 60, "{found:?}");
        found.retain(|key| {
            !documented
                .iter()
                .any(|page| page.contains(&format!("`{key}`")))
        });
        assert!(found.is_empty(), "not in docs/json.md: {found:?}");
    }

    #[test]
    fn a_lost_record_has_the_names_of_the_contract() {
        let line = render(&fixtures::lost(), 1).expect("serialisable");
        insta::assert_snapshot!(line.trim_end(), @r#"{"kind":"lost","ts":"2026-03-01T09:41:07.312000000Z","events":1024,"where":"the ring buffer","seq":1}"#);
    }

    #[test]
    fn a_layer_is_said_in_the_words_of_the_table() {
        let line = render(&fixtures::reported(), 1).expect("serialisable");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let layer = |n: usize| value["layers"][n].to_string();
        insta::assert_snapshot!(layer(2), @r#"{"layer":"policy","test":"admitted","result":"not observed","evidence":null,"verdict":null}"#);
        insta::assert_snapshot!(layer(4), @r#"{"layer":"overlay","test":"tunnel","result":"blocked","evidence":null,"verdict":"blocked by firewall"}"#);
        assert_eq!(value["verdict"]["point"], "firewall");
    }

    #[test]
    fn control_characters_are_escaped_and_come_back() {
        let name = "a\u{1b}[31m\u{9b}31m\u{7f}\u{202e}é\n";
        let line = render(&fixtures::drop_on(name), 1).expect("serialisable");
        assert!(
            !line.trim_end_matches('\n').chars().any(is_unsafe),
            "{line:?}"
        );
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["ifname"], name);
    }
}
