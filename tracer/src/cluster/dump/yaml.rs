//! YAML files: one object or list in each document.

mod scalar;
mod tree;

use serde_json::Value;

use super::{Numbered, SyntaxError, json::inner_kind};
use crate::cluster::item::{Body, Item};

/// A tree takes ten times the room of its text: more than this is for JSON, which is read piece by
/// piece.
pub(super) const LARGEST: usize = 128 << 20;

/// Yields each object of the text, and each list.
pub(super) fn read(text: &str, sink: &mut dyn FnMut(Item<'_>)) -> Result<(), SyntaxError> {
    if text.len() > LARGEST {
        return Err(SyntaxError {
            line: 1,
            message: format!(
                "more than {} MiB of YAML: write it with -o json",
                LARGEST >> 20
            ),
        });
    }
    let mut lists = Numbered::default();
    tree::documents(text, &mut |line, tree| {
        if !tree.is_null() {
            unfold(tree, line, None, None, &mut lists, sink);
        }
    })
}

fn unfold(
    mut tree: Value,
    line: usize,
    listed: Option<(String, String)>,
    mixed_list: Option<usize>,
    lists: &mut Numbered,
    sink: &mut dyn FnMut(Item<'_>),
) {
    if let Value::Array(elements) = tree {
        for element in elements {
            unfold(element, line, None, None, lists, sink);
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
        mixed_list,
        body: Body::Tree(tree),
    });
    if let Value::Array(items) = items {
        let mixed_list = (kind == "List").then(|| lists.next());
        for item in items {
            unfold(
                item,
                line,
                inner_kind(&version, &kind),
                mixed_list,
                lists,
                sink,
            );
        }
    }
}

/// The last document of a text.
pub(super) fn only(text: &str) -> Option<Value> {
    let mut found = None;
    tree::documents(text, &mut |_, tree| found = Some(tree)).ok()?;
    found
}

/// The documents of a text.
#[cfg(test)]
pub(super) fn trees(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    tree::documents(text, &mut |_, tree| found.push(tree)).expect("YAML");
    found
}
