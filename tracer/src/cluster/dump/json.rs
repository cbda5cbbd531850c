//! JSON files. Objects are read one by one, so that a large file is never a tree in memory.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Numbered, SyntaxError};
use crate::cluster::item::{Body, Item, without_place};

/// How deep lists may be in lists. kubectl nests none, and every level takes its share of the stack.
const DEEPEST: usize = 8;

/// A list, or the little that is to be known of another object.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default, borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// Yields each object of the text, and each list.
pub(super) fn read(text: &str, sink: &mut dyn FnMut(Item<'_>)) -> Result<(), SyntaxError> {
    let mut lines = Lines::new(text);
    let mut lists = Numbered::default();
    let documents = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    for document in documents {
        let document = document.map_err(|error| SyntaxError {
            line: error.line(),
            message: if error.is_eof() {
                "the file ends in the middle: it was cut off, or is still being written".to_owned()
            } else {
                without_place(&error)
            },
        })?;
        let mut walk = Walk {
            lines: &mut lines,
            lists: &mut lists,
            sink: &mut *sink,
        };
        walk.unfold(document, None, None, 0)?;
    }
    Ok(())
}

struct Walk<'w, 'a> {
    lines: &'w mut Lines<'a>,
    lists: &'w mut Numbered,
    sink: &'w mut dyn FnMut(Item<'_>),
}

impl<'a> Walk<'_, 'a> {
    fn unfold(
        &mut self,
        document: &'a RawValue,
        listed: Option<(String, String)>,
        mixed_list: Option<usize>,
        depth: usize,
    ) -> Result<(), SyntaxError> {
        let line = self.lines.of(document.get());
        if depth > DEEPEST {
            return Err(SyntaxError {
                line,
                message: "lists are nested too deeply".to_owned(),
            });
        }
        if let Ok(array) = serde_json::from_str::<Vec<&RawValue>>(document.get()) {
            for element in array {
                self.unfold(element, None, None, depth + 1)?;
            }
            return Ok(());
        }
        let outer = serde_json::from_str::<Outer<'_>>(document.get()).ok();
        let list = outer.filter(|outer| outer.kind.ends_with("List"));
        (self.sink)(Item {
            line,
            listed,
            mixed_list,
            body: Body::Text(document),
        });
        let Some(list) = list else { return Ok(()) };
        let listed = inner_kind(&list.api_version, &list.kind);
        let mixed_list = (list.kind == "List").then(|| self.lists.next());
        for item in list.items.into_iter().flatten() {
            self.unfold(item, listed.clone(), mixed_list, depth + 1)?;
        }
        Ok(())
    }
}

/// The kind of a list's items: those of a `PodList` need not say that they are pods.
pub(super) fn inner_kind(version: &str, kind: &str) -> Option<(String, String)> {
    kind.strip_suffix("List")
        .filter(|kind| !kind.is_empty())
        .map(|kind| (version.to_owned(), kind.to_owned()))
}

/// Counts lines, forwards.
struct Lines<'a> {
    text: &'a str,
    counted: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            counted: 0,
            line: 1,
        }
    }

    /// The line at which a part of the text begins.
    fn of(&mut self, part: &str) -> usize {
        let at = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        if let Some(passed) = self.text.as_bytes().get(self.counted..at) {
            self.line += passed.iter().filter(|b| **b == b'\n').count();
            self.counted = at;
        }
        self.line
    }
}
