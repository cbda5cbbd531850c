//! What belongs to no record, and goes to stderr: programs read stdout.

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use unicode_width::UnicodeWidthStr as _;

use super::{
    Terminal,
    text::{NARROWEST, sanitized},
};

/// Who says it.
const LABEL: &str = "whydrop:";

/// Writes a message of one line, whatever it quotes.
pub(crate) fn note(text: &str) {
    note_lines(&[text]);
}

/// Writes a message of several lines, such as commands below a sentence. Each is one line, whatever it
/// quotes: only who puts a message together decides where its lines end.
pub(crate) fn note_lines(lines: &[impl AsRef<str>]) {
    write(&labelled(&safe(lines), width()));
}

/// Writes why the program has failed; its lines stay apart.
pub(crate) fn error(text: &str) {
    let lines: Vec<_> = text.lines().collect();
    note_lines(&lines);
}

/// Lines without anything that a terminal would take for more than text.
fn safe(lines: &[impl AsRef<str>]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| sanitized(line.as_ref())).collect();
    lines.join("\n")
}

/// Prints help, or what is wrong with the command line, and returns the exit status.
pub(crate) fn usage(usage: &clap::Error) -> ExitCode {
    match width().filter(|_| usage.use_stderr()) {
        None => {
            let _ = usage.print();
        }
        Some(width) => {
            let text = usage.render();
            let text = match Terminal::stdout().no_color {
                true => text.to_string(),
                false => text.ansi().to_string(),
            };
            let lines: Vec<_> = text.lines().map(|line| wrapped(line, width)).collect();
            write(&lines.join("\n"));
        }
    }
    ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1))
}

/// Says that this program is at fault, in the midst of whatever it was writing: colors end there.
pub(crate) fn after_a_fault(text: &str) {
    // The same terminal as that of stdout, which the fault may have locked.
    if io::stderr().is_terminal() {
        write("\x1b[0m");
    }
    note(text);
}

fn write(text: &str) {
    // If stderr is closed, no one can be warned of that.
    let _ = writeln!(io::stderr(), "{text}");
}

/// The columns of stderr, where it is a terminal that knows them.
fn width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stderr())?;
    // A serial console may say 0.
    Some(usize::from(width.0)).filter(|width| *width > 0)
}

/// The message behind the label; on a terminal, what does not fit goes on below its beginning.
fn labelled(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else {
        return format!("{LABEL} {text}");
    };
    let hang = LABEL.len() + 1;
    let mut lines = Vec::new();
    for line in text.lines() {
        let start = if lines.is_empty() {
            LABEL
        } else {
            &" ".repeat(hang - 1)
        };
        lines.push(fitted(&format!("{start} {line}"), width, hang));
    }
    lines.join("\n")
}

/// A line of a message with colors, broken between words; it goes on where its text begins.
fn wrapped(line: &str, width: usize) -> String {
    let blanks = line.len() - line.trim_start().len();
    fitted(line, width, blanks)
}

/// Breaks a line between words, and indents what follows.
fn fitted(line: &str, width: usize, hang: usize) -> String {
    let width = width.max(NARROWEST);
    if columns(line) <= width {
        return line.to_owned();
    }
    let blanks = line.len() - line.trim_start().len();
    let mut out = line[..blanks].to_owned();
    let mut column = blanks;
    let mut is_fresh = true;
    for word in line[blanks..].split(' ') {
        let wide = columns(word);
        if !is_fresh && column + 1 + wide > width {
            out.push('\n');
            out.push_str(&" ".repeat(hang));
            column = hang;
            is_fresh = true;
        }
        if !is_fresh {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += wide;
        is_fresh = false;
    }
    out
}

/// How many columns a text takes, without the sequences that color it.
fn columns(text: &str) -> usize {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().width();
    let others = parts.map(|part| part.split_once('m').map_or(part, |(_, rest)| rest).width());
    first + others.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_on_below_its_beginning() {
        let text = "one two three four five six seven eight nine ten eleven";
        assert_eq!(
            labelled(text, Some(42)),
            "whydrop: one two three four five six seven\n         eight nine ten eleven"
        );
        assert_eq!(labelled(text, None), format!("whydrop: {text}"));
        assert_eq!(
            labelled("one\n  two", Some(80)),
            "whydrop: one\n           two"
        );
    }

    #[test]
    fn lines_end_where_they_were_meant_to_and_nowhere_else() {
        let lines = ["do this:", "  scp whydrop a\nrm -r b", "\u{1b}[2J"];
        assert_eq!(
            safe(&lines),
            "do this:\n  scp whydrop a\u{fffd}rm -r b\n\u{fffd}[2J"
        );
    }

    #[test]
    fn colors_take_no_columns() {
        assert_eq!(
            columns("\x1b[1m\x1b[31merror:\x1b[0m no"),
            "error: no".len()
        );
        let line = format!("  \x1b[33m{}\x1b[0m", ["word"; 12].join(" "));
        let lines = wrapped(&line, 40);
        let lines: Vec<_> = lines.lines().collect();
        assert!(
            lines.len() == 2 && lines[1].starts_with("  word"),
            "{lines:?}"
        );
        assert!(lines.iter().all(|line| columns(line) <= 40), "{lines:?}");
    }

    #[test]
    fn a_word_is_never_broken() {
        let word = "x".repeat(90);
        assert_eq!(
            labelled(&word, Some(80)),
            format!("whydrop:\n         {word}")
        );
    }
}
