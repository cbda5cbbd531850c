//! A kubeconfig from a pipe, as of a shell's `<(…)`. A pipe into which no process writes would hold up
//! the start for ever: it is waited for, but not longer than a credential plugin.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a pipe may take to its end.
const LIMIT: Duration = Duration::from_secs(10);

/// What comes out of a pipe that was opened without blocking, up to `most` bytes and one more.
///
/// # Errors
/// It does not end in time, cannot be read, or a signal came.
pub(super) fn read(file: &File, most: u64) -> io::Result<Vec<u8>> {
    read_until(file, most, Instant::now() + LIMIT)
}

fn read_until(mut file: &File, most: u64, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    while text.len() as u64 <= most {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        // A signal ends the wait: it may ask for the end of the whole program.
        let ready = poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], timeout);
        match ready.map_err(io::Error::from) {
            Ok(0) => {
                let why = "no process has written it to its end in time";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                let why = "a signal came while whydrop waited for it";
                return Err(io::Error::new(error.kind(), why));
            }
            Err(error) => return Err(error),
        }
        match file.read(&mut part) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, thread};

    use nix::{
        fcntl::{FcntlArg, OFlag, fcntl},
        unistd::pipe,
    };

    use super::*;

    fn ends() -> (File, File) {
        let (read, write) = pipe().unwrap();
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        (read.into(), write.into())
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (from, mut to) = ends();
        let writer = thread::spawn(move || to.write_all(&[b'x'; 100_000]).unwrap());
        assert_eq!(read(&from, 1 << 20).unwrap(), [b'x'; 100_000]);
        writer.join().unwrap();
    }

    #[test]
    fn a_pipe_without_an_end_is_given_up() {
        let (from, _to) = ends();
        let error = read_until(&from, 1 << 20, Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn no_more_is_read_than_would_be_used() {
        let (from, mut to) = ends();
        to.write_all(&[b'x'; 20_000]).unwrap();
        let read = read(&from, 5_000).unwrap().len();
        assert!((5_001..20_000).contains(&read), "{read}");
    }
}
