//! Running programs that take minutes: what they do, and for how long, stays visible all the time.
//!
//! On a terminal one line at the bottom is kept current. Elsewhere, such as in a log, that line is
//! repeated whenever nothing else has been printed for a few seconds.

use std::{
    env,
    io::{self, IsTerminal as _, PipeReader, Read as _, Write as _},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use terminal_size::{Width, terminal_size_of};

use crate::run;

/// How often the line at the bottom of a terminal is redrawn, so that its clock ticks.
const TICK: Duration = Duration::from_secs(1);

/// How long a log may go without a line.
const LONGEST_SILENCE: Duration = Duration::from_secs(5);

/// What becomes of the lines that a program prints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// They are shown.
    Show,
    /// Only the last one is shown, as progress; all of them follow if the program fails.
    ShowOnFailure,
}

/// What a program does with its output: it ends a line, or it draws over it.
enum Output {
    Line(String),
    Status(String),
}

/// Runs a command to its end, without an input, and shows its progress. `task` is what it does, in
/// a few words.
pub(crate) fn run(task: &str, mut command: Command, lines: Lines) -> Result<()> {
    let shown = run::show(&command);
    let (reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command
        .spawn()
        .map_err(|error| run::cannot_start(&command, error))?;
    // It holds our copies of the pipe's writing end, which keep the pipe open.
    drop(command);

    let (sender, output) = mpsc::channel();
    let reading = thread::spawn(move || read(reader, &sender));
    let mut screen = Screen::new(task);
    let mut kept = Vec::new();
    loop {
        match output.recv_timeout(TICK) {
            Ok(Output::Line(line)) if lines == Lines::Show => screen.print(&line),
            Ok(Output::Line(line)) => {
                screen.status = line.trim().to_owned();
                kept.push(line);
            }
            Ok(Output::Status(status)) => screen.status = status,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        screen.tick();
    }
    screen.clear();
    // It only fails by a panic, which has been reported then.
    let _ = reading.join();
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for `{shown}`"))?;
    if !status.success() {
        for line in kept {
            eprintln!("{line}");
        }
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs cargo, whose progress bar says how far it is.
pub(crate) fn cargo(task: &str, mut cargo: Command) -> Result<()> {
    // By arguments: the environment would reach the cargo that builds the kernel programs, too.
    cargo.args(["--config", "term.progress.when='always'"]);
    cargo.args(["--config", "term.progress.width=120"]);
    if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none() {
        cargo.args(["--config", "term.color='always'"]);
    }
    run(task, cargo, Lines::Show)
}

/// Passes on lines and statuses until the other end is closed.
fn read(mut reader: PipeReader, sender: &Sender<Output>) {
    let mut buffer = [0; 4096];
    let mut text = Vec::new();
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        for &byte in &buffer[..count] {
            let output: fn(String) -> Output = match byte {
                b'\n' => Output::Line,
                b'\r' => |text| Output::Status(status_of(&text)),
                _ => {
                    text.push(byte);
                    continue;
                }
            };
            let line = String::from_utf8_lossy(&text).into_owned();
            text.clear();
            // Between a carriage return and a newline there is nothing.
            if !line.trim().is_empty() && sender.send(output(line)).is_err() {
                return;
            }
        }
    }
}

/// What a progress bar says: `Building [====>   ] 12/310: serde, tokio` is `12 of 310: serde, tokio`.
fn status_of(bar: &str) -> String {
    let after = bar.rsplit_once("] ").map_or(bar, |(_, after)| after).trim();
    match after.split_once(':') {
        Some((counts, names)) => format!("{}:{names}", counts.replacen('/', " of ", 1)),
        None => after.replacen('/', " of ", 1),
    }
}

/// stderr, with the current status in its last line.
struct Screen<'a> {
    task: &'a str,
    status: String,
    started: Instant,
    /// When something was last printed for good.
    printed: Instant,
    /// The terminal's columns; `None` if this is no terminal.
    columns: Option<usize>,
}

impl<'a> Screen<'a> {
    fn new(task: &'a str) -> Self {
        let columns = io::stderr().is_terminal().then(|| {
            terminal_size_of(io::stderr()).map_or(80, |(Width(columns), _)| columns.into())
        });
        let now = Instant::now();
        Self {
            task,
            status: String::new(),
            started: now,
            printed: now,
            columns,
        }
    }

    /// Prints a line above the status.
    fn print(&mut self, line: &str) {
        self.clear();
        eprintln!("{line}");
        self.printed = Instant::now();
    }

    /// Shows the status as it is now.
    fn tick(&mut self) {
        let line = self.line();
        match self.columns {
            Some(columns) => {
                let line: String = line.chars().take(columns.saturating_sub(1)).collect();
                eprint!("\r\x1b[2K{line}");
                let _ = io::stderr().flush();
            }
            None if self.printed.elapsed() >= LONGEST_SILENCE => self.print(&line),
            None => {}
        }
    }

    fn line(&self) -> String {
        let seconds = self.started.elapsed().as_secs();
        let (task, status) = (self.task, &self.status);
        let time = format!("{}:{:02}", seconds / 60, seconds % 60);
        if status.is_empty() {
            format!("{task} ({time})")
        } else {
            format!("{task} ({time}): {status}")
        }
    }

    fn clear(&self) {
        if self.columns.is_some() {
            eprint!("\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_becomes_a_count() {
        assert_eq!(
            status_of("    Building [=====>      ] 12/310: serde, whydrop(bin)"),
            "12 of 310: serde, whydrop(bin)"
        );
        assert_eq!(status_of("12% [Working]"), "12% [Working]");
    }
}
