//! Records for people: each entry begins with its verdict, and the trace reads as one story.

mod attempt;
mod canvas;
mod drop;
mod ladder;
mod layers;
mod packet;
mod path;
mod probe;
mod repeats;
mod started;
mod story;
mod summary;
mod units;
mod verdict;

use std::{collections::HashSet, io, time::SystemTime};

pub(crate) use self::canvas::{Canvas, Paint, piece};
pub(super) use self::canvas::{NARROWEST, is_unsafe, sanitized};
use self::{
    story::{Showing, Story},
    units::{grouped, time},
};
use super::{Detail, Sink, Style};
use crate::model::{Lost, Outcome, Report};

/// Renders records as text.
#[derive(Debug)]
pub(super) struct Text {
    style: Style,
    detail: Detail,
    story: Story,
    manifests: Manifests,
    /// What a probe has shown; `None` in a trace.
    probe: Option<probe::Probe>,
}

/// The manifests shown so far: each is long, and is shown once in a trace.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    shown: HashSet<String>,
    /// What is drawn now: the flow that a manifest is for.
    flow: String,
    /// The file of each, and the flow that it was shown for first.
    files: Vec<(String, String)>,
}

/// Manifests that are remembered. One beyond that is shown each time.
const MAX_MANIFESTS: usize = 256;

impl Manifests {
    /// Whether this manifest, which is to be written to a file, stands further up already.
    fn is_known(&mut self, file: &str, manifest: &str) -> bool {
        if self.shown.contains(manifest) {
            return true;
        }
        if self.shown.len() < MAX_MANIFESTS {
            self.shown.insert(manifest.to_owned());
            self.files.push((file.to_owned(), self.flow.clone()));
        }
        false
    }

    /// The flow that a file was shown for.
    fn flow_of(&self, file: &str) -> Option<&str> {
        let known = self.files.iter().find(|(known, _)| known == file);
        known.map(|(_, flow)| flow.as_str())
    }
}

impl Text {
    pub(super) fn new(style: Style, detail: Detail) -> Self {
        Self {
            style,
            detail,
            story: Story::default(),
            manifests: Manifests::default(),
            probe: None,
        }
    }

    /// The lines of one record.
    pub(super) fn render(&mut self, record: &Report) -> String {
        let mut page = Page {
            canvas: Canvas::new(&self.style),
            style: &self.style,
            verbose: self.detail.verbose,
            manifests: &mut self.manifests,
        };
        if let Some(probe) = &mut self.probe {
            match record {
                Report::Started(started) => probe::Probe::started(&mut page, started),
                Report::Attempt(attempt) => probe.attempt(attempt),
                Report::Layer(layer) => probe.layer(&mut page, layer),
                Report::Summary(summary) => probe.summary(&mut page, summary),
                Report::Lost(lost) => draw_lost(&mut page, lost),
                Report::Drop(_)
                | Report::More(_)
                | Report::Path(_)
                | Report::Plan(_)
                | Report::Tick(_) => {}
            }
            return page.canvas.finish();
        }
        match record {
            Report::Started(started) => started::draw(&mut page, started),
            Report::Drop(drop) => {
                if self.story.drop(drop) == Showing::Entry {
                    drop::draw(&mut page, drop);
                }
            }
            Report::Attempt(attempt) => match self.story.attempt(attempt, self.detail.answered) {
                Showing::Entry => attempt::draw(&mut page, attempt),
                Showing::Ending { of, adjacent } => {
                    attempt::draw_ending(&mut page, attempt, of, adjacent);
                }
                Showing::Counted | Showing::Hidden => {}
            },
            Report::More(more) => {
                if more.outcome != Some(Outcome::Answered) || self.detail.answered {
                    self.story.interrupted();
                    repeats::draw_more(&mut page, more);
                }
            }
            Report::Lost(lost) => {
                self.story.interrupted();
                draw_lost(&mut page, lost);
            }
            // For programs.
            Report::Tick(_) => {}
            Report::Plan(plan) => {
                probe::Probe::plan(&mut page, plan);
                self.probe = Some(probe::Probe::default());
            }
            Report::Layer(layer) => probe::Probe::default().layer(&mut page, layer),
            Report::Path(path) => {
                if path.outcome != Outcome::Answered || self.detail.answered {
                    path::draw(&mut page, path);
                }
            }
            Report::Summary(summary) => {
                let end = summary.ts.unwrap_or_else(SystemTime::now);
                for repeats in self.story.due(end, true) {
                    repeats::draw(&mut page, &repeats);
                }
                summary::draw(&mut page, summary);
            }
        }
        page.canvas.finish()
    }
}

impl Sink for Text {
    fn report(&mut self, record: &Report) -> io::Result<String> {
        Ok(self.render(record))
    }

    fn heading(&mut self, text: &str) -> String {
        let mut canvas = Canvas::new(&self.style);
        canvas.labelled(0, text, "", Paint::Bold);
        canvas.finish()
    }

    fn tick(&mut self, now: SystemTime) -> String {
        let mut page = Page {
            canvas: Canvas::new(&self.style),
            style: &self.style,
            verbose: self.detail.verbose,
            manifests: &mut self.manifests,
        };
        for repeats in self.story.due(now, false) {
            repeats::draw(&mut page, &repeats);
        }
        page.canvas.finish()
    }

    fn interrupted(&mut self) -> String {
        match self.style.interactive {
            true => "\n".to_owned(),
            false => String::new(),
        }
    }

    fn resize(&mut self, columns: Option<usize>) {
        self.style.width = columns;
    }
}

/// Lines that a terminal takes for nothing but text.
pub(super) fn safe(lines: &str) -> String {
    let lines: Vec<_> = lines.lines().map(sanitized).collect();
    lines.join("\n")
}

/// What an entry is drawn on, and with.
#[derive(Debug)]
struct Page<'a> {
    canvas: Canvas<'a>,
    style: &'a Style,
    /// Whether all facts are shown.
    verbose: bool,
    manifests: &'a mut Manifests,
}

impl Page<'_> {
    /// The time of day, for the beginning of an entry.
    fn clock(&self, at: SystemTime) -> String {
        time(self.style, at, "%H:%M:%S%.3f")
    }
}

fn draw_lost(page: &mut Page<'_>, lost: &Lost) {
    let Lost { ts, events, place } = lost;
    let stamp = page.clock(*ts);
    let text = format!(
        "{} event{} lost in {place}: not every drop is shown",
        grouped(*events),
        if *events == 1 { "" } else { "s" },
    );
    page.canvas
        .labelled(0, &format!("{stamp}  !"), &text, Paint::Warn);
}

#[cfg(test)]
mod tests;
