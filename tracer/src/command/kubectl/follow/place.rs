//! Where a log has been read up to.
//!
//! The API server puts its own time in front of each line, and takes it as the place to go on from.
//! That is at least the last line once more: each record has a number, by which it is left out.

use super::super::manifest::CONTAINER;
use crate::report::record;

/// The longest line, in bytes. One that is longer is left out, and missing.
const LONGEST: usize = 4 << 20;
/// Where a log has been read up to.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The API server's time of the last line, to go on from.
    since: Option<String>,
    /// The same, as it was written.
    last: Option<String>,
    /// The time of the last line before the log broke off: the API server goes on from whole seconds.
    broke_at: Option<String>,
    /// The number of the last record.
    seq: u64,
    /// What came behind the last whole line.
    rest: Vec<u8>,
    /// The line is too long, and left out up to its end.
    skips: bool,
}

impl Place {
    /// Takes bytes, and gives the lines in them that are new.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + part.len() > LONGEST {
                self.rest.clear();
                self.skips = true;
            }
            if !self.skips {
                self.rest.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                if !std::mem::take(&mut self.skips) {
                    lines.extend(self.line(&line));
                }
            }
        }
        lines
    }

    fn line(&mut self, line: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(line);
        let (time, text) = text.trim_end().split_once(' ')?;
        // It goes into a URL.
        let is_time = |c: char| c.is_ascii_digit() || "-:.TZ+".contains(c);
        if !time.is_empty() && time.len() < 64 && time.chars().all(is_time) {
            self.since = Some(time.replace('+', "%2B"));
            self.last = Some(time.to_owned());
        }
        match record::number(text) {
            Some(seq) if seq <= self.seq => None,
            Some(seq) => {
                self.seq = seq;
                Some(text.to_owned())
            }
            // What the trace says beside its records, unless it was there before.
            None if self.broke_at.as_deref().is_some_and(|known| time <= known) => None,
            None => Some(text.to_owned()),
        }
    }

    /// The number of the last record.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// What broke off comes again, whole.
    pub(super) fn broke_off(&mut self) {
        self.rest.clear();
        self.skips = false;
        self.broke_at = self.last.clone();
    }

    pub(super) fn path(&self, pods: &str, pod: &str, follow: bool) -> String {
        let since = self.since.as_ref();
        let since = since.map(|since| format!("&sinceTime={since}"));
        format!(
            "{pods}/{pod}/log?container={CONTAINER}&timestamps=true&follow={follow}{}",
            since.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_left_out_and_nothing_else() {
        let mut place = Place::default();
        let first = place.take(b"2026-01-01T00:00:01.5Z {\"seq\":1}\n2026-01-01T00:00:02Z {\"seq\":2}\n2026-01-01T00:00:03Z {\"se");
        assert_eq!(first, ["{\"seq\":1}", "{\"seq\":2}"]);
        place.broke_off();
        let path = place.path("/pods", "p", true);
        assert!(path.ends_with("&sinceTime=2026-01-01T00:00:02Z"), "{path}");
        let then =
            place.take(b"2026-01-01T00:00:02Z {\"seq\":2}\n2026-01-01T00:00:03Z {\"seq\":3}\n");
        assert_eq!(then, ["{\"seq\":3}"]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_and_what_follows_is_read() {
        let mut place = Place::default();
        for _ in 0..20 {
            assert!(place.take(&vec![b'a'; 1 << 20]).is_empty());
            assert!(place.rest.len() <= LONGEST);
        }
        let then = place.take(b"\n2026-01-01T00:00:03Z {\"seq\":9}\n");
        assert_eq!(then, ["{\"seq\":9}"]);
    }

    #[test]
    fn a_time_that_is_none_does_not_come_into_a_url() {
        let mut place = Place::default();
        place.take(b"2026&follow=x {\"seq\":1}\n");
        assert!(!place.path("/pods", "p", true).contains("sinceTime"));
    }
}
