//! Joined traces and probes for a ticket: Markdown, with the terminal's text in code blocks.
//!
//! All text from outside stands in code blocks, whose fence is longer than any run of backticks in
//! them: no name can end one, and nothing in them is markup.

use std::io;

use super::{Detail, Sink, Style, text::Text, ticket::Ticket};
use crate::model::Report;

/// Renders paths and probes as Markdown.
#[derive(Debug)]
pub(super) struct Markdown {
    text: Text,
    /// The ticket of a probe; `None` for joined traces.
    ticket: Option<Ticket>,
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
        let detail = Detail {
            verbose: true,
            ..detail
        };
        Self {
            text: Text::new(style, detail),
            ticket: None,
        }
    }
}

impl Sink for Markdown {
    fn report(&mut self, record: &Report) -> io::Result<String> {
        if let Report::Plan(plan) = record {
            self.ticket = Some(Ticket::new(plan));
            return Ok(Ticket::opening(&mut self.text, record));
        }
        if let Some(ticket) = &mut self.ticket {
            return Ok(ticket.take(&mut self.text, record));
        }
        let Report::Path(path) = record else {
            return Ok(String::new());
        };
        let text = self.text.render(record);
        if text.is_empty() {
            return Ok(text);
        }
        let outcome = path.outcome.name();
        let title = match &path.verdict {
            Some(verdict) => format!("{outcome}, {}", verdict.point.name()),
            None => outcome.to_owned(),
        };
        Ok(format!("## {title}\n\n{}\n", fenced(&text)))
    }

    fn heading(&mut self, text: &str) -> String {
        format!("{}\n", fenced(&self.text.heading(text)))
    }
}

/// Text in a code block.
pub(super) fn fenced(text: &str) -> String {
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
    fn the_heading_names_nodes_and_is_no_markup_either() {
        let mut markdown = Markdown::new(Style::plain(), Detail::default());
        assert_eq!(
            markdown.heading("1 attempt in traces of *a*"),
            "```\n1 attempt in traces of *a*\n```\n\n"
        );
    }

    #[test]
    fn no_text_ends_its_block() {
        assert_eq!(fenced("a `b`\n"), "```\na `b`\n```\n");
        assert_eq!(fenced("````\n# heading"), "`````\n````\n# heading\n`````\n");
    }
}
