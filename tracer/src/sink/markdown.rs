//! Joined traces for a ticket: Markdown, with the terminal's text in code blocks.
//!
//! All text from outside stands in code blocks, whose fence is longer than any run of backticks in
//! them: no name can end one, and nothing in them is markup.

use std::io;

use super::{Detail, Sink, Style, text::Text};
use crate::model::{Outcome, Report};

/// Renders paths as Markdown.
#[derive(Debug)]
pub(super) struct Markdown {
    text: Text,
    answered: bool,
}

impl Markdown {
    pub(super) fn new(style: Style, detail: Detail) -> Self {
        // Color is the terminal's, and so is the width.
        let style = Style {
            color: false,
            width: Some(100),
            interactive: false,
            ..style
        };
        let text = Text::new(
            style,
            Detail {
                verbose: true,
                ..detail
            },
        );
        Self {
            text,
            answered: detail.answered,
        }
    }
}

impl Sink for Markdown {
    fn report(&mut self, record: &Report) -> io::Result<String> {
        let title = match record {
            Report::Path(path) if path.outcome == Outcome::Answered => {
                if !self.answered {
                    return Ok(String::new());
                }
                "answered".to_owned()
            }
            Report::Path(path) => match &path.verdict {
                Some(verdict) => format!("{}, {}", path.outcome.name(), verdict.point.name()),
                None => path.outcome.name().to_owned(),
            },
            _ => return Ok(String::new()),
        };
        Ok(format!(
            "## {title}\n\n{}\n",
            fenced(&self.text.render(record))
        ))
    }
}

/// Text in a code block.
fn fenced(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_block() {
        assert_eq!(fenced("a `b`\n"), "```\na `b`\n```\n");
        assert_eq!(fenced("````\n# heading"), "`````\n````\n# heading\n`````\n");
    }
}
