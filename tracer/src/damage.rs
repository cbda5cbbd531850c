//! Texts and trees with parts of them changed, for the properties of parsers: what is almost right
//! gets further into a parser than noise does.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

/// A text with up to three parts of it cut out, doubled, or replaced by a scrap.
pub(crate) fn text(text: &'static str) -> impl Strategy<Value = String> {
    let scraps = select(vec![
        "",
        "\"",
        "{",
        "}",
        "[]",
        "null",
        "-1",
        "!",
        " -j ",
        "/",
        ":",
        ",",
        "- ",
        "\n",
        "\n---\n",
        "é",
        "&a [*a]",
        "18446744073709551616",
        "0-4294967295",
    ]);
    let change = (0..text.len(), 0..40_usize, scraps, any::<bool>());
    vec(change, 1..4).prop_map(move |changes| {
        let mut text = text.to_owned();
        for (at, length, scrap, is_doubled) in changes {
            let at = text.floor_char_boundary(at);
            let end = text.floor_char_boundary((at + length).min(text.len()));
            let part = text[at..end].to_owned();
            if is_doubled {
                text.insert_str(end, &part);
            } else {
                text.replace_range(at..end, scrap);
            }
        }
        text
    })
}

/// JSON with up to three values in it replaced: by another kind of value, an extreme one, or by
/// another part of it.
pub(crate) fn json(text: &'static str) -> impl Strategy<Value = String> {
    let tree: Value = serde_json::from_str(text).expect("JSON");
    let all = count(&tree);
    let strange = prop_oneof![
        select(vec![
            json!(null),
            json!(true),
            json!(-1),
            json!(u64::MAX),
            json!(1e300),
            json!(""),
            json!("*"),
            json!("::/0"),
            json!([]),
            json!({}),
            json!([[], {}]),
            json!({"set": [{"range": [1, 0]}, {"prefix": {"addr": "::", "len": u64::MAX}}]}),
        ])
        .prop_map(Ok),
        (0..all).prop_map(Err),
    ];
    vec((0..all, strange), 1..4).prop_map(move |changes| {
        let mut changed = tree.clone();
        for (at, strange) in changes {
            let value = strange.unwrap_or_else(|at| nth(&mut tree.clone(), at).clone());
            let places = count(&changed);
            *nth(&mut changed, at % places) = value;
        }
        changed.to_string()
    })
}

fn count(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(values) => values.values().map(count).sum::<usize>(),
        _ => 0,
    }
}

/// The value at this place, in order of appearance.
fn nth(tree: &mut Value, at: usize) -> &mut Value {
    let Some(mut at) = at.checked_sub(1) else {
        return tree;
    };
    let children: Vec<&mut Value> = match tree {
        Value::Array(values) => values.iter_mut().collect(),
        Value::Object(values) => values.values_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        let inside = count(child);
        if at < inside {
            return nth(child, at);
        }
        at -= inside;
    }
    unreachable!("there are as many places as were counted")
}
