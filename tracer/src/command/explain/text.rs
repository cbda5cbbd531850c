//! The answer for people: what, why, and what to do.

use unicode_width::UnicodeWidthStr as _;

use super::report::{Report, SideReport};
use crate::{model::Fix, sink::Style};

/// Rules shown of a side; all are in the JSON.
const MISSES_SHOWN: usize = 4;

/// Below this, wrapping would make matters worse.
const NARROWEST: usize = 40;

const BOLD_RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";

/// The answer, in lines.
pub(super) fn render(report: &Report, style: &Style) -> String {
    let mut page = Page {
        style,
        text: String::new(),
    };
    let (word, color) = match report.allowed {
        Some(true) => ("allowed", GREEN),
        Some(false) => ("denied", BOLD_RED),
        None => ("cannot be told", YELLOW),
    };
    page.sentence("", &format!("{}:", report.flow), "");
    page.sentence("", &format!("{word} by the NetworkPolicies"), color);
    page.text.push('\n');
    draw_side(&mut page, "egress ", &report.egress);
    draw_side(&mut page, "ingress", &report.ingress);
    for warning in &report.warnings {
        page.sentence("! ", warning, YELLOW);
    }
    for fix in report.verdict.iter().flat_map(|verdict| &verdict.fix) {
        draw_fix(&mut page, fix);
    }
    page.text
}

fn draw_fix(page: &mut Page<'_>, fix: &Fix) {
    if let Some(manifest) = fix.as_manifest() {
        let title = match &manifest.also {
            None => "\nto admit this flow and nothing else, save:".to_owned(),
            Some(also) => format!("\nto admit this flow, save this, which also {also}:"),
        };
        page.copied(&title, &manifest.text());
    }
    page.copied("then apply it:", &fix.line());
    if let Some(undo) = fix.undo_line() {
        page.copied("to remove it again:", &undo);
    }
}

fn draw_side(page: &mut Page<'_>, name: &str, side: &SideReport) {
    let policies = side.policies.join(", ");
    let label = format!("{name}  ");
    let (words, color) = match (&side.pod, side.isolated, side.allowed) {
        (_, _, None) => {
            let because = side.undecidable_because.as_deref().unwrap_or_default();
            (format!("cannot be told: {because}"), YELLOW)
        }
        (None, ..) => ("no pod that policies could isolate".to_owned(), ""),
        (Some(pod), Some(true), Some(true)) => {
            let by = side.exempt_because.clone();
            let by = by.unwrap_or_else(|| format!("admitted by {}", side.admitted_by.join(", ")));
            (format!("{pod} is isolated by {policies}; {by}"), "")
        }
        (Some(pod), _, Some(true)) => (format!("{pod} is not isolated: no policy selects it"), ""),
        (Some(pod), _, Some(false)) => (
            format!("{pod} is isolated by {policies}, and no rule admits this"),
            BOLD_RED,
        ),
    };
    page.sentence(&label, &words, color);
    let indent = " ".repeat(label.len());
    if side.allowed == Some(false) {
        for miss in side.near_misses.iter().take(MISSES_SHOWN) {
            page.sentence(&format!("{indent}- "), miss, "");
        }
        if let Some(more @ 1..) = side.near_misses.len().checked_sub(MISSES_SHOWN) {
            page.sentence(
                &format!("{indent}- "),
                &format!("{more} more with -o json"),
                "",
            );
        }
        if let Some(missing) = &side.missing {
            page.sentence(&format!("{indent}missing: "), missing, "");
        }
    }
}

struct Page<'a> {
    style: &'a Style,
    text: String,
}

impl Page<'_> {
    /// A sentence that wraps beside its label.
    fn sentence(&mut self, label: &str, text: &str, color: &str) {
        let width = self
            .style
            .width
            .map_or(usize::MAX, |width| width.max(NARROWEST));
        let hang = label.width();
        let mut column = hang;
        let mut words = String::new();
        for word in text.split_whitespace() {
            if column > hang && column.saturating_add(1 + word.width()) > width {
                words += "\n";
                words.extend(std::iter::repeat_n(' ', hang));
                column = hang;
            } else if column > hang {
                words.push(' ');
                column += 1;
            }
            words += word;
            column += word.width();
        }
        self.text += label;
        let painted = self.painted(&words, color);
        self.text += &painted;
        self.text.push('\n');
    }

    /// Lines to copy, below a title.
    fn copied(&mut self, title: &str, text: &str) {
        self.text += title;
        self.text.push('\n');
        for line in text.lines() {
            let painted = self.painted(line, CYAN);
            self.text += &painted;
            self.text.push('\n');
        }
    }

    fn painted(&self, text: &str, color: &str) -> String {
        if self.style.color && !color.is_empty() {
            format!("{color}{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
