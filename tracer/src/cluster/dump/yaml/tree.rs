//! From the events of the YAML parser to trees.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag, options};
use serde_json::{Map, Value};

use super::scalar;
use crate::cluster::dump::SyntaxError;

/// How many nodes aliases may add to those that are written out, at the least.
const FREE_COPIES: usize = 100_000;

/// Returns the tree of each document, with the line at which it begins.
pub(super) fn documents(text: &str, sink: &mut dyn FnMut(usize, Value)) -> Result<(), SyntaxError> {
    let parser = Parser::new_from_str_with_options(text, options! { emit_comments: false });
    let mut builder = Builder::default();
    let mut begin = 1;
    for event in parser {
        let (event, span) = event.map_err(|error| SyntaxError {
            line: error.marker().line(),
            message: error.info().to_string(),
        })?;
        match event {
            Event::DocumentStart(..) => {
                builder = Builder::default();
                begin = span.start.line();
            }
            Event::DocumentEnd => sink(begin, builder.root.take().unwrap_or_default()),
            event => builder.take(event).map_err(|message| SyntaxError {
                line: line_of(span),
                message,
            })?,
        }
    }
    Ok(())
}

fn line_of(span: Span) -> usize {
    span.start.line()
}

/// A collection that is not complete yet.
enum Open {
    Sequence(Vec<Value>),
    Mapping {
        entries: Map<String, Value>,
        /// The key whose value comes next.
        key: Option<Key>,
        /// What `<<` adds where the mapping itself has nothing.
        merged: Vec<Value>,
    },
}

enum Key {
    Text(String),
    Merge,
}

#[derive(Default)]
struct Builder {
    root: Option<Value>,
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, Value>,
    /// The nodes written out so far, and those that aliases have copied.
    written: usize,
    copied: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        self.written += 1;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.awaits_key() {
                    let key = key(&text, style, tag.as_deref())?;
                    self.remember(anchor, &Value::from(text.as_ref()))?;
                    return self.put_key(key);
                }
                let value = value(&text, style, tag.as_deref());
                self.remember(anchor, &value)?;
                self.put(value)
            }
            Event::Alias(id) => {
                let known = self.anchors.get(&id);
                let value = known.ok_or("an alias stands for a collection around it")?;
                let value = value.clone();
                self.count_copy(&value)?;
                if self.awaits_key() {
                    let text = value.as_str().ok_or(NO_SCALAR)?;
                    return self.put_key(Key::Text(text.to_owned()));
                }
                self.put(value)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Open::Sequence(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => {
                let mapping = Open::Mapping {
                    entries: Map::new(),
                    key: None,
                    merged: Vec::new(),
                };
                self.begin(mapping, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some((Open::Mapping { key: None, .. }, _)))
    }

    fn begin(&mut self, open: Open, anchor: usize) -> Result<(), String> {
        if self.awaits_key() {
            return Err(NO_SCALAR.to_owned());
        }
        self.open.push((open, anchor));
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some((open, anchor)) = self.open.pop() else {
            return Ok(());
        };
        let value = match open {
            Open::Sequence(elements) => Value::Array(elements),
            Open::Mapping {
                mut entries,
                merged,
                ..
            } => {
                for (key, value) in merged.into_iter().flat_map(mappings).flatten() {
                    entries.entry(key).or_insert(value);
                }
                Value::Object(entries)
            }
        };
        self.remember(anchor, &value)?;
        self.put(value)
    }

    fn remember(&mut self, anchor: usize, value: &Value) -> Result<(), String> {
        if anchor > 0 {
            self.count_copy(value)?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(())
    }

    fn count_copy(&mut self, value: &Value) -> Result<(), String> {
        self.copied += size(value);
        match self.copied > self.written.saturating_mul(10).max(FREE_COPIES) {
            true => Err("aliases make it many times as large".to_owned()),
            false => Ok(()),
        }
    }

    fn put_key(&mut self, new: Key) -> Result<(), String> {
        let Some((Open::Mapping { entries, key, .. }, _)) = self.open.last_mut() else {
            return Ok(());
        };
        if let Key::Text(text) = &new
            && entries.contains_key(text)
        {
            return Err(format!("the key {text:?} is there twice"));
        }
        *key = Some(new);
        Ok(())
    }

    fn put(&mut self, value: Value) -> Result<(), String> {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Open::Sequence(elements), _)) => elements.push(value),
            Some((
                Open::Mapping {
                    entries,
                    key,
                    merged,
                },
                _,
            )) => match key.take() {
                Some(Key::Text(key)) => {
                    entries.insert(key, value);
                }
                Some(Key::Merge) => merged.push(value),
                None => return Err(NO_SCALAR.to_owned()),
            },
        }
        Ok(())
    }
}

const NO_SCALAR: &str = "a key is a list or a mapping";

fn key(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Key, String> {
    if style != ScalarStyle::Plain || is_text(tag) {
        return Ok(Key::Text(text.to_owned()));
    }
    if text == "<<" {
        return Ok(Key::Merge);
    }
    scalar::key(text)
        .map(Key::Text)
        .ok_or_else(|| "a key is null".to_owned())
}

fn value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    match style == ScalarStyle::Plain && !is_text(tag) {
        true => scalar::value(text),
        false => Value::from(text),
    }
}

/// Whether a tag says that what it marks is text, whatever it looks like.
fn is_text(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.core_suffix() == Some("str"))
}

/// The mappings that `<<` names: one, or a list of them.
fn mappings(value: Value) -> Vec<Map<String, Value>> {
    match value {
        Value::Object(mapping) => vec![mapping],
        Value::Array(list) => list.into_iter().flat_map(mappings).collect(),
        _ => Vec::new(),
    }
}

/// How many nodes a tree has.
fn size(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(elements) => elements.iter().map(size).sum(),
        Value::Object(entries) => entries.values().map(size).sum(),
        _ => 0,
    }
}
