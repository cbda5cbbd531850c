//! Lines that fit: wrapping, eliding, color, and no control character from a foreign name.

use std::{borrow::Cow, iter};

use anstyle::{AnsiColor, Style as Ansi};
use unicode_width::UnicodeWidthStr;

use crate::sink::Style;

/// Below this, wrapping would make matters worse.
pub(in crate::sink) const NARROWEST: usize = 40;

/// What a piece of text means; color is added to the words, never instead of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Nothing special.
    Plain,
    /// Detail that may be skipped.
    Dim,
    /// What the eye should find first.
    Bold,
    /// It went well.
    Good,
    /// A loss.
    Bad,
    /// To be read with care.
    Warn,
    /// Something to do.
    Act,
}

impl Paint {
    fn ansi(self) -> Ansi {
        match self {
            Self::Plain => Ansi::new(),
            Self::Dim => Ansi::new().dimmed(),
            Self::Bold => Ansi::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Act => AnsiColor::Cyan.on_default(),
        }
    }
}

/// A piece of text that is not broken.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    text: String,
    paint: Paint,
    gap: &'static str,
    elidable: bool,
}

/// A piece, two blanks after the one before.
pub(crate) fn piece(text: impl AsRef<str>, paint: Paint) -> Piece {
    Piece {
        text: sanitized(text.as_ref()).into_owned(),
        paint,
        gap: "  ",
        elidable: false,
    }
}

impl Piece {
    /// Another gap to the piece before it.
    pub(crate) fn after(mut self, gap: &'static str) -> Self {
        self.gap = gap;
        self
    }

    /// Another paint.
    pub(crate) fn painted(mut self, paint: Paint) -> Self {
        self.paint = paint;
        self
    }

    /// Blanks up to this many columns, for what stands in a table.
    pub(crate) fn padded(mut self, columns: usize) -> Self {
        let blanks = columns.saturating_sub(self.text.width());
        self.text.extend(iter::repeat_n(' ', blanks));
        self
    }

    /// How many columns it takes.
    pub(crate) fn columns(&self) -> usize {
        self.text.width()
    }

    /// Its middle may be left out where it is too wide.
    pub(crate) fn elidable(mut self) -> Self {
        self.elidable = true;
        self
    }
}

/// Collects lines.
#[derive(Debug)]
pub(crate) struct Canvas<'a> {
    style: &'a Style,
    out: String,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(style: &'a Style) -> Self {
        Self {
            style,
            out: String::new(),
        }
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// A line that breaks between pieces, and goes on indented by `hang`.
    pub(crate) fn line(&mut self, indent: usize, hang: usize, pieces: &[Piece]) {
        let width = self.style.width.map(|width| width.max(NARROWEST));
        let mut brush = Paint::Plain;
        let mut column = indent;
        let mut fresh = true;
        self.blanks(indent);
        for piece in pieces {
            let needed = piece.gap.width() + piece.text.width();
            if !fresh && width.is_some_and(|width| column + needed > width) {
                self.paint(&mut brush, Paint::Plain);
                self.out.push('\n');
                self.blanks(hang);
                column = hang;
                fresh = true;
            }
            let text = match width {
                Some(width) if piece.elidable => elided(&piece.text, width.saturating_sub(column)),
                _ => Cow::Borrowed(piece.text.as_str()),
            };
            if !fresh {
                // A gap between equals keeps their color, so that a sentence is painted once.
                if brush != piece.paint {
                    self.paint(&mut brush, Paint::Plain);
                }
                self.out.push_str(piece.gap);
                column += piece.gap.width();
            }
            self.paint(&mut brush, piece.paint);
            self.out.push_str(&text);
            column += text.width();
            fresh = false;
        }
        self.paint(&mut brush, Paint::Plain);
        self.out.push('\n');
    }

    /// A label and a sentence that wraps beside it.
    pub(crate) fn labelled(&mut self, indent: usize, label: &str, text: &str, paint: Paint) {
        let hang = indent + label.width() + 1;
        let words = text
            .split_whitespace()
            .map(|word| piece(word, paint).after(" "));
        let mut pieces: Vec<_> = iter::once(piece(label, paint)).chain(words).collect();
        if let [label] = pieces.as_mut_slice() {
            label.text.truncate(label.text.trim_end().len());
        }
        self.line(indent, hang, &pieces);
    }

    /// Words that wrap, behind pieces that stand before the first of them only.
    pub(crate) fn sentence(
        &mut self,
        (indent, hang): (usize, usize),
        before: &[Piece],
        text: &str,
        paint: Paint,
    ) {
        let mut pieces = before.to_vec();
        let mut words = text.split_whitespace();
        // The first keeps its distance to what stands before it.
        pieces.extend(words.next().map(|word| piece(word, paint)));
        pieces.extend(words.map(|word| piece(word, paint).after(" ")));
        self.line(indent, hang, &pieces);
    }

    /// An empty line.
    pub(crate) fn gap(&mut self) {
        self.out.push('\n');
    }

    /// Lines to copy: neither wrapped nor shortened. Without a label they begin at the indent.
    pub(crate) fn verbatim(&mut self, indent: usize, label: &str, text: &str, paint: Paint) {
        let mut label = Cow::Borrowed(label);
        for line in text.lines() {
            let mut brush = Paint::Plain;
            self.blanks(indent);
            self.paint(&mut brush, paint);
            if !label.is_empty() {
                self.out.push_str(&label);
                self.out.push(' ');
            }
            self.out.push_str(&sanitized(line));
            self.paint(&mut brush, Paint::Plain);
            self.out.push('\n');
            label = Cow::Owned(" ".repeat(label.width()));
        }
    }

    fn blanks(&mut self, count: usize) {
        self.out.extend(iter::repeat_n(' ', count));
    }

    fn paint(&mut self, brush: &mut Paint, paint: Paint) {
        if *brush == paint || !self.style.color {
            return;
        }
        self.out += &brush.ansi().render_reset().to_string();
        self.out += &paint.ansi().render().to_string();
        *brush = paint;
    }
}

/// Whether a terminal could take it for a command, or show other text than is there: two names that
/// look alike are then one.
pub(in crate::sink) fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || is_format(c) || is_invisible(c)
}

/// Unicode's category Cf: what joins, reorders, or is not to be seen.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Letters and marks that show nothing of their own (Unicode's `Default_Ignorable_Code_Point`).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}')
}

pub(in crate::sink) fn sanitized(text: &str) -> Cow<'_, str> {
    if text.contains(is_unsafe) {
        Cow::Owned(text.replace(is_unsafe, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The ends of a text that is too wide, and `…` for its middle.
fn elided(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width {
        return Cow::Borrowed(text);
    }
    let side = width.saturating_sub(1) / 2;
    // A character may be wider than a column or have none: take as many as fit.
    let fits = |part: &str| part.width() <= side;
    let head = text
        .char_indices()
        .map(|(at, _)| &text[..at])
        .take_while(|part| fits(part))
        .last();
    let tail = text
        .char_indices()
        .rev()
        .map(|(at, _)| &text[at..])
        .take_while(|p| fits(p))
        .last();
    Cow::Owned(format!(
        "{}…{}",
        head.unwrap_or_default(),
        tail.unwrap_or_default()
    ))
}

/// Facts of less weight, with dots between them.
pub(super) fn details(facts: &[String]) -> Vec<Piece> {
    facts
        .iter()
        .map(|fact| piece(fact, Paint::Dim).after(" · ").elidable())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_to_be_seen_is_replaced() {
        for hidden in [
            '\u{200b}',
            '\u{200d}',
            '\u{feff}',
            '\u{ad}',
            '\u{e0041}',
            '\u{2060}',
            '\u{202e}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{9b}',
            '\u{1b}',
            '\r',
        ] {
            let name = format!("sh{hidden}op");
            assert_eq!(sanitized(&name), "sh\u{fffd}op", "{hidden:?}");
        }
        for plain in ["shop", "läden", "店", "сайт", "cafe\u{301}"] {
            assert_eq!(sanitized(plain), plain);
        }
    }

    fn draw(width: usize, color: bool, draw: impl FnOnce(&mut Canvas<'_>)) -> String {
        let style = Style {
            width: Some(width),
            color,
            ..Style::plain()
        };
        let mut canvas = Canvas::new(&style);
        draw(&mut canvas);
        canvas.finish()
    }

    #[test]
    fn a_sentence_is_painted_once() {
        let text = draw(80, true, |c| {
            c.labelled(2, "-", "one two three", Paint::Dim);
        });
        assert_eq!(text, "  \u{1b}[2m- one two three\u{1b}[0m\n");
    }

    #[test]
    fn the_middle_is_left_out() {
        assert_eq!(elided("nf_hook_slow", 12), "nf_hook_slow");
        assert_eq!(elided("nf_hook_slow", 9), "nf_h…slow");
        assert_eq!(elided("日本語の名前", 7), "日…前");
        assert_eq!(elided("abc", 0), "…");
    }

    #[test]
    fn foreign_text_commands_no_terminal() {
        let evil = "a\u{1b}]0;x\u{7}\u{9b}2J\r\n\u{202e}b";
        let text = draw(80, false, |c| {
            c.line(0, 0, &[piece(evil, Paint::Plain)]);
            c.verbatim(0, "fix:", evil, Paint::Act);
        });
        assert!(!text.chars().any(|c| c != '\n' && is_unsafe(c)), "{text:?}");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_lines_fit(
            width in 0..130usize,
            texts in proptest::collection::vec(".{0,60}", 0..6),
        ) {
            let text = draw(width, false, |canvas| {
                let pieces: Vec<_> =
                    texts.iter().map(|text| piece(text, Paint::Plain).elidable()).collect();
                canvas.line(2, 4, &pieces);
            });
            for line in text.lines() {
                prop_assert!(line.width() <= width.max(NARROWEST), "{line:?}");
                prop_assert!(!line.contains(is_unsafe), "{line:?}");
            }
        }
    }
}
