//! The terminal, shared between whydrop and the headlines.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    pty::{Winsize, openpty},
    sys::signal::{Signal, kill},
    unistd::{Pid, pipe},
};
use whydrop_tests::{binary, deadline, on_interrupt};

/// How long whydrop must have printed nothing for its last record to be complete: a record has
/// several lines, and nothing marks the last one.
const PAUSE: Duration = Duration::from_millis(200);

/// What happens on the screen.
enum Event {
    /// whydrop has written a line.
    Line(String),
    /// whydrop has closed its end.
    End,
    /// The user interrupted.
    Interrupted,
}

/// Where whydrop's output goes.
#[derive(Clone)]
pub(crate) enum Output {
    /// To our own.
    Stdout,
    /// Into memory, as a terminal of that many columns gets it.
    Memory {
        /// The width.
        columns: u16,
        /// What has been written.
        written: Arc<Mutex<Vec<u8>>>,
    },
}

impl Output {
    fn write(&self, bytes: &[u8]) {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                // The demo cleans up even if the terminal is gone.
                let _ = stdout.write_all(bytes);
                let _ = stdout.flush();
            }
            Self::Memory { written, .. } => written
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(bytes),
        }
    }

    /// The terminal that whydrop is to see; `None` for a pipe.
    fn terminal(&self) -> Result<Option<Winsize>> {
        match self {
            Self::Stdout if io::stdout().is_terminal() => Ok(Some(window_size()?)),
            Self::Stdout => Ok(None),
            Self::Memory { columns, .. } => Ok(Some(Winsize {
                ws_row: 100,
                ws_col: *columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            })),
        }
    }
}

/// Whether a record was shown.
pub(crate) enum Shown {
    /// It was.
    Yes,
    /// Not within the time.
    No,
    /// The user interrupted.
    Interrupted,
}

/// Passes on what whydrop prints, and searches it.
pub(crate) struct Screen {
    sender: Sender<Event>,
    events: Receiver<Event>,
    output: Output,
    child: Option<Child>,
}

impl Screen {
    /// An empty screen; from here on Ctrl-C is an event.
    pub(crate) fn new(output: Output) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let interrupted = sender.clone();
        // Sending fails only when the screen is gone, and then all is over anyway.
        on_interrupt(move || {
            let _ = interrupted.send(Event::Interrupted);
        })?;
        Ok(Self {
            sender,
            events,
            output,
            child: None,
        })
    }

    /// Writes a line of its own.
    pub(crate) fn headline(&self, text: &str) {
        if io::stdout().is_terminal() {
            println!("\n\x1b[1;7m {text} \x1b[0m");
        } else {
            println!("\n── {text} ──");
        }
    }

    /// Starts whydrop, on a terminal if the output is one, and waits until it is tracing.
    pub(crate) fn start(&mut self, arguments: &[String]) -> Result<Shown> {
        let (ours, theirs) = match self.output.terminal()? {
            Some(size) => {
                let pty = openpty(&size, None)?;
                (pty.master, pty.slave)
            }
            None => pipe()?,
        };
        let command = format!("$ whydrop {}\n", arguments.join(" "));
        self.output.write(command.as_bytes());
        let child = Command::new(binary())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(theirs.try_clone()?)
            .stderr(theirs)
            // Ctrl-C is passed on when it is time for the summary.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", binary().display()))?;
        self.child = Some(child);
        let (output, sender) = (self.output.clone(), self.sender.clone());
        thread::spawn(move || pass_on(ours, &output, &sender));
        let shown = self.wait_for(&[])?;
        ensure!(!matches!(shown, Shown::No), "whydrop printed nothing");
        Ok(shown)
    }

    /// Waits for a record that contains all these words, and for it to be complete.
    pub(crate) fn wait_for(&self, words: &[&str]) -> Result<Shown> {
        let deadline = Instant::now() + deadline();
        let mut record = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Event::Line(line)) => {
                    // All but its first line are indented.
                    if !line.starts_with(' ') {
                        record.clear();
                    }
                    record.push_str(&line);
                    if words.iter().all(|words| record.contains(words)) {
                        break;
                    }
                }
                Ok(Event::End) => bail!("whydrop has ended"),
                Ok(Event::Interrupted) => return Ok(Shown::Interrupted),
                Err(_) => return Ok(Shown::No),
            }
        }
        loop {
            match self.events.recv_timeout(PAUSE) {
                Ok(Event::Line(_)) => {}
                Ok(Event::End) => bail!("whydrop has ended"),
                Ok(Event::Interrupted) => return Ok(Shown::Interrupted),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Ok(Shown::Yes);
                }
            }
        }
    }

    /// Ends whydrop as Ctrl-C does, and shows its summary.
    pub(crate) fn finish(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        kill(Pid::from_raw(child.id().try_into()?), Signal::SIGINT)?;
        while !matches!(
            self.events.recv_timeout(deadline()),
            Ok(Event::End) | Err(_)
        ) {}
        let status = child.wait()?;
        // Before it is tracing, Ctrl-C ends it without a summary.
        let interrupted = status.signal() == Some(libc::SIGINT);
        ensure!(
            status.success() || interrupted,
            "whydrop ended with {status}"
        );
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Copies to the output until the other end is closed.
fn pass_on(from: OwnedFd, output: &Output, sender: &Sender<Event>) {
    let mut from = File::from(from);
    let mut buffer = [0; 4096];
    let mut line = Vec::new();
    // A pty's master fails with EIO when the last slave is closed.
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        output.write(&buffer[..count]);
        for byte in &buffer[..count] {
            if *byte == b'\n' {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if sender.send(Event::Line(text)).is_err() {
                    return;
                }
            } else {
                line.push(*byte);
            }
        }
    }
    let _ = sender.send(Event::End);
}

/// The size of our own terminal.
fn window_size() -> Result<Winsize> {
    let mut size = Winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes one `winsize`, which lives until after the call.
    let result = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    nix::errno::Errno::result(result).context("cannot ask the terminal for its size")?;
    Ok(size)
}
