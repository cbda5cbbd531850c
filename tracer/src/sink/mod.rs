//! The only writer to the terminal: records in, bytes out.
//!
//! A [`Sink`] is one way to show a trace; [`Printer`] holds the one that was asked for. Rendering is
//! plain code: the terminal's width, color and time zone are given to it in a [`Style`], so that a
//! test needs neither a terminal nor a kernel.

#[cfg(test)]
pub(crate) mod fixtures;
mod json;
mod markdown;
mod stderr;
mod terminal;
mod text;
mod ticket;

use std::{
    io::{self, ErrorKind, Write},
    time::SystemTime,
};

pub(crate) use self::stderr::{after_a_fault, error, note, note_lines, usage};
pub(crate) use self::terminal::{ColorChoice, Style, Terminal};
pub(crate) use self::text::{Canvas, Paint, piece};
use crate::model::Report;

/// Formats to choose from by `-o`.
pub(crate) trait Formats: clap::ValueEnum + Copy + Default + Send + Sync + 'static {
    /// Their names, as the help shows them.
    const NAMES: &str;
}

/// The formats of a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TraceFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

impl Formats for TraceFormat {
    const NAMES: &str = "text|json";
}

/// The formats of joined traces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PathFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
    /// For a ticket: Markdown.
    Md,
}

impl Formats for PathFormat {
    const NAMES: &str = "text|json|md";
}

impl From<TraceFormat> for PathFormat {
    fn from(format: TraceFormat) -> Self {
        match format {
            TraceFormat::Text => Self::Text,
            TraceFormat::Json => Self::Json,
        }
    }
}

/// The formats of a single answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one object.
    Json,
}

impl Formats for Format {
    const NAMES: &str = "text|json";
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Delivery {
    /// It is out, and flushed.
    Written,
    /// The reader is gone (`whydrop … | head`): time to end, and no error.
    ReaderGone,
}

/// How much of a trace to show as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    /// All facts of a verdict, instead of the nearest ones.
    pub(crate) verbose: bool,
    /// Attempts that were answered, too.
    pub(crate) answered: bool,
}

/// One way to show a trace.
trait Sink: std::fmt::Debug {
    /// The bytes of a record; empty where it is not shown, or only later.
    ///
    /// # Errors
    ///
    /// The record cannot be written in this format.
    fn report(&mut self, record: &Report) -> io::Result<String>;

    /// A line before the first record, for people.
    fn heading(&mut self, _text: &str) -> String {
        String::new()
    }

    /// What is due by now, such as the count of what repeats.
    fn tick(&mut self, _now: SystemTime) -> String {
        String::new()
    }

    /// What goes below the `^C` that a terminal writes where its cursor is.
    fn interrupted(&mut self) -> String {
        String::new()
    }

    /// Follows a terminal that was resized; `None` for lines of any length.
    fn resize(&mut self, _columns: Option<usize>) {}
}

/// Prints records, each at once.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    sink: Box<dyn Sink>,
}

impl<W: Write> Printer<W> {
    /// Prints to `out`. `style` and `detail` matter for text only.
    pub(crate) fn new(out: W, format: impl Into<PathFormat>, style: Style, detail: Detail) -> Self {
        let sink: Box<dyn Sink> = match format.into() {
            PathFormat::Text => Box::new(text::Text::new(style, detail)),
            PathFormat::Json => Box::new(json::Json::default()),
            PathFormat::Md => Box::new(markdown::Markdown::new(style, detail)),
        };
        Self { out, sink }
    }

    /// Prints one record and flushes it.
    ///
    /// # Errors
    ///
    /// `out` cannot be written to. A closed pipe is a [`Delivery`], not an error.
    pub(crate) fn print(&mut self, record: &Report) -> io::Result<Delivery> {
        let rendered = self.sink.report(record)?;
        self.write(&rendered)
    }

    /// Prints a line that comes before the first record; nothing where programs read.
    ///
    /// # Errors
    ///
    /// As for [`Printer::print`].
    pub(crate) fn heading(&mut self, text: &str) -> io::Result<Delivery> {
        let rendered = self.sink.heading(text);
        self.write(&rendered)
    }

    /// Prints what is due by now.
    ///
    /// # Errors
    ///
    /// As for [`Printer::print`].
    pub(crate) fn tick(&mut self, now: SystemTime) -> io::Result<Delivery> {
        let rendered = self.sink.tick(now);
        self.write(&rendered)
    }

    /// Goes on below what the terminal has written of a signal's key.
    ///
    /// # Errors
    ///
    /// As for [`Printer::print`].
    pub(crate) fn interrupted(&mut self) -> io::Result<Delivery> {
        let rendered = self.sink.interrupted();
        self.write(&rendered)
    }

    /// Follows a terminal that was resized.
    pub(crate) fn resize(&mut self, columns: Option<usize>) {
        self.sink.resize(columns);
    }

    fn write(&mut self, rendered: &str) -> io::Result<Delivery> {
        if rendered.is_empty() {
            return Ok(Delivery::Written);
        }
        let written = self.out.write_all(rendered.as_bytes());
        match written.and_then(|()| self.out.flush()) {
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
        for format in [TraceFormat::Text, TraceFormat::Json] {
            let record = fixtures::lost();
            let output =
                |kind| Printer::new(Fails(kind), format, Style::plain(), Detail::default());
            let print = |kind| output(kind).print(&record);
            assert!(matches!(
                print(ErrorKind::BrokenPipe),
                Ok(Delivery::ReaderGone)
            ));
            let full = print(ErrorKind::StorageFull).map_err(|error| error.kind());
            assert_eq!(full, Err(ErrorKind::StorageFull));
        }
    }
}
