//! The only writer to the terminal: records in, bytes out.
//!
//! Rendering is plain code: the terminal's width, colour and time zone are given to it in a
//! [`Style`], so that a test needs neither a terminal nor a kernel.

mod attempt;
mod canvas;
mod drop;
#[cfg(test)]
pub(crate) mod fixtures;
mod json;
mod ladder;
mod layers;
mod packet;
mod summary;
mod terminal;
mod text;
mod units;
mod verdict;

use std::io::{self, ErrorKind, Write};

pub use self::terminal::{ColorChoice, Style, Terminal};
use crate::model::Report;

/// For whom to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// It is out, and flushed.
    Written,
    /// Nobody reads any more (`whydrop … | head`): time to end, and no error.
    ReaderGone,
}

/// Says something that belongs to no record, on stderr: programs read stdout.
pub fn note(text: &str) {
    use std::io::Write as _;
    // A closed stderr is nobody's loss.
    let _ = writeln!(io::stderr(), "whydrop: {text}");
}

/// Prints records, each at once.
#[derive(Debug)]
pub struct Printer<W> {
    out: W,
    renderer: Renderer,
}

#[derive(Debug)]
enum Renderer {
    Text(Box<text::Text>),
    Json,
}

impl<W: Write> Printer<W> {
    /// A printer to `out`. `style` matters for text only.
    pub fn new(out: W, format: Format, style: Style) -> Self {
        let renderer = match format {
            Format::Text => Renderer::Text(Box::new(text::Text::new(style))),
            Format::Json => Renderer::Json,
        };
        Self { out, renderer }
    }

    /// Prints one record and flushes it.
    pub fn print(&mut self, report: &Report) -> io::Result<Delivery> {
        let rendered = match &mut self.renderer {
            Renderer::Text(text) => text.render(report),
            Renderer::Json => json::render(report)?,
        };
        match self
            .out
            .write_all(rendered.as_bytes())
            .and_then(|()| self.out.flush())
        {
            Ok(()) => Ok(Delivery::Written),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Delivery::ReaderGone),
            Err(error) => Err(error),
        }
    }

    /// What it was printing to.
    #[cfg(test)]
    pub(crate) fn into_inner(self) -> W {
        self.out
    }

    /// Follows a terminal that was resized.
    pub fn resize(&mut self, width: Option<usize>) {
        if let Renderer::Text(text) = &mut self.renderer {
            text.resize(width);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_an_end_and_a_full_disk_an_error() {
        for format in [Format::Text, Format::Json] {
            let record = fixtures::lost();
            let print = |kind| Printer::new(Fails(kind), format, Style::plain()).print(&record);
            assert!(matches!(
                print(ErrorKind::BrokenPipe),
                Ok(Delivery::ReaderGone)
            ));
            let full = print(ErrorKind::StorageFull).map_err(|error| error.kind());
            assert_eq!(full, Err(ErrorKind::StorageFull));
        }
    }
}
