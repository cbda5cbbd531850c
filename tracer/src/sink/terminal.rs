//! What the text has to fit: a terminal of some width, with or without color, or a pipe.

use std::{
    env, fs,
    io::{self, IsTerminal},
    os::fd::AsFd as _,
};

use jiff::tz::TimeZone;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// When to use color.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where standard output leads to.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    /// Whether a person is looking at it.
    pub(crate) interactive: bool,
    /// Its columns, where it has some.
    pub(crate) width: Option<usize>,
    /// Whether the environment asks for text without color, or the terminal knows none.
    pub(crate) no_color: bool,
    /// The zone of the times in the text.
    pub(crate) zone: TimeZone,
}

impl Terminal {
    /// Looks at standard output and the environment.
    #[must_use]
    pub(crate) fn stdout() -> Self {
        let interactive = io::stdout().is_terminal();
        // https://no-color.org: any value but the empty one.
        let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = if interactive {
            Self::stdout_width()
        } else {
            None
        };
        Self {
            interactive,
            width,
            no_color,
            zone: zone(),
        }
    }

    /// The columns of standard output now, where it is a terminal that knows them.
    #[must_use]
    pub(crate) fn stdout_width() -> Option<usize> {
        let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
        // A serial console may say 0.
        Some(usize::from(width.0)).filter(|width| *width > 0)
    }

    /// Whether standard output can no longer be read: the other end of the pipe is closed, or
    /// the terminal has gone. A trace in which nothing happens writes nothing that would fail.
    #[must_use]
    pub(crate) fn stdout_has_no_reader() -> bool {
        let stdout = io::stdout();
        let mut state = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        poll(&mut state, PollTimeout::ZERO).is_ok()
            && state[0]
                .revents()
                .is_some_and(|events| events.intersects(gone))
    }

    /// A pipe, and times in UTC.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self {
            interactive: false,
            width: None,
            no_color: false,
            zone: TimeZone::UTC,
        }
    }
}

/// The system's zone. `TZ` may name a file, which is read to its end: a device or a pipe has none.
fn zone() -> TimeZone {
    const LARGEST: u64 = 1 << 20;
    let named = env::var("TZ").unwrap_or_default();
    let path = named.strip_prefix(':').unwrap_or(&named);
    let is_none = |file: fs::Metadata| match file.is_file() {
        true => file.len() > LARGEST,
        false => !file.is_dir(),
    };
    match fs::metadata(path).is_ok_and(is_none) {
        true => TimeZone::UTC,
        false => TimeZone::system(),
    }
}

/// How text is to look.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    /// Columns to fit in; `None` for lines of any length, as a pipe wants them.
    pub(crate) width: Option<usize>,
    /// Whether to color.
    pub(crate) color: bool,
    /// Whether a person is waiting for the next line.
    pub(crate) interactive: bool,
    /// The zone of the times.
    pub(crate) zone: TimeZone,
}

impl Style {
    /// The style for this terminal.
    #[must_use]
    pub(crate) fn new(color: ColorChoice, terminal: &Terminal) -> Self {
        Self {
            width: terminal.width,
            color: match color {
                ColorChoice::Auto => terminal.interactive && !terminal.no_color,
                ColorChoice::Always => true,
                ColorChoice::Never => false,
            },
            interactive: terminal.interactive,
            zone: terminal.zone.clone(),
        }
    }

    /// For a pipe: no color, no width, UTC.
    #[must_use]
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self::new(ColorChoice::Never, &Terminal::none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_is_for_terminals_unless_it_is_disabled() {
        let color = |choice, interactive, no_color| {
            let terminal = Terminal {
                interactive,
                no_color,
                ..Terminal::none()
            };
            Style::new(choice, &terminal).color
        };
        assert!(color(ColorChoice::Auto, true, false));
        assert!(!color(ColorChoice::Auto, true, true));
        assert!(!color(ColorChoice::Auto, false, false));
        assert!(color(ColorChoice::Always, false, true));
        assert!(!color(ColorChoice::Never, true, false));
    }
}
