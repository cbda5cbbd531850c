//! YAML files: documents between lines of `---`.

use serde_json::Value;

use super::{SyntaxError, json::inner_kind};
use crate::cluster::item::{Body, Item};

/// Gives each object of the text, and each list.
pub(super) fn read(text: &str, sink: &mut dyn FnMut(Item<'_>)) -> Result<(), SyntaxError> {
    for (line, document) in documents(text) {
        let tree: Value = serde_saphyr::from_str(document).map_err(|error| {
            let inside = error.location().map_or(1, |place| place.line());
            SyntaxError {
                line: line + usize::try_from(inside).unwrap_or(1).saturating_sub(1),
                message: without_place(&error.to_string()),
            }
        })?;
        if !tree.is_null() {
            unfold(tree, line, None, sink);
        }
    }
    Ok(())
}

/// The first line of a message, whose place is said otherwise: the lines it counts are those of
/// one document. The crate draws the place in the lines below.
fn without_place(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let placed = first
        .strip_prefix("error: line ")
        .and_then(|rest| rest.split_once(": "));
    placed.map_or(first, |(_, message)| message).to_owned()
}

fn unfold(
    mut tree: Value,
    line: usize,
    listed: Option<(String, String)>,
    sink: &mut dyn FnMut(Item<'_>),
) {
    if let Value::Array(elements) = tree {
        for element in elements {
            unfold(element, line, None, sink);
        }
        return;
    }
    let text = |key: &str| {
        tree.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (version, kind) = (text("apiVersion"), text("kind"));
    let items = match tree.get_mut("items") {
        Some(items) if kind.ends_with("List") => items.take(),
        _ => Value::Null,
    };
    sink(Item {
        line,
        listed,
        body: Body::Tree(tree),
    });
    if let Value::Array(items) = items {
        for item in items {
            unfold(item, line, inner_kind(&version, &kind), sink);
        }
    }
}

/// The documents of a text, each with the line at which it begins. Each is parsed by itself, so
/// that what is wrong with it has a line of the file.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let (mut start, mut line, mut at) = (0, 1, 0);
    for (n, content) in text.split_inclusive('\n').enumerate() {
        let is_border = content.trim_end() == "---" || content.starts_with("--- ");
        if is_border {
            found.push((line, &text[start..at]));
            start = at + "---".len();
            line = n + 1;
        }
        at += content.len();
    }
    found.push((line, &text[start..]));
    let has_content = |text: &str| {
        text.lines().any(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        })
    };
    found.retain(|(_, text)| has_content(text));
    found
}
