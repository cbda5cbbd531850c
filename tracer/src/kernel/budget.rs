//! What maps and tables may take together, and how they share it.

use std::fmt::Write as _;

use tracer_common::event::{HELD_PLACES, HeldLog};

use super::cgroup;

const MIB: u64 = 1 << 20;
/// What maps and tables take, without `--memory` and without a limit.
pub(crate) const DEFAULT: u64 = 64 * MIB;
/// With less, a trace follows too little to be of use.
pub(crate) const LEAST: u64 = 16 * MIB;
/// What else a trace takes, in a control group's account: the process itself, the kernel's symbols, and
/// the loaded programs. To verify these, the kernel takes no more than this and [`LEAST`] for a moment.
pub(crate) const BESIDE: u64 = 48 * MIB;

/// With as much, several programs may be verified at once.
const AMPLE: u64 = 4 * (BESIDE + LEAST);

/// A kind of drops: an entry of the counting map, and what was shown of it.
const DROP_KIND: u64 = 400;
/// A handshake or a learned tuple of the kernel programs, with its place in the map.
const HANDSHAKE: u64 = 300;
/// The events of a handshake that is held.
const HELD: u64 = size_of::<HeldLog>() as u64;
/// An attempt with its hops, its drop and the verdict on it.
const ATTEMPT: u64 = 6 << 10;

/// The sizes of maps and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Bytes of the ring buffer: a power of two.
    pub(crate) ring_bytes: u32,
    /// How many kinds of drops (see [`tracer_common::event::DropKey`]) are counted apart.
    pub(crate) drop_kinds: u32,
    /// How many handshakes the kernel programs follow, and how many tuples they learn.
    pub(crate) handshakes: u32,
    /// How many handshakes are held until they fail: a power of two.
    pub(crate) held: u32,
    /// How many attempts are followed at once.
    pub(crate) attempts: usize,
}

impl Budget {
    /// Shares the memory out: a sixteenth for the ring buffer, an eighth each for what the kernel programs
    /// count, follow and hold, and the rest for attempts.
    pub(crate) fn of(bytes: u64) -> Self {
        let entries = |bytes: u64, size: u64| u32::try_from(bytes / size).unwrap_or(u32::MAX);
        let ring = (bytes / 16).clamp(4 << 10, 1 << 30);
        Self {
            ring_bytes: 1 << ring.ilog2(),
            drop_kinds: entries(bytes / 8, DROP_KIND),
            handshakes: entries(bytes / 8, HANDSHAKE),
            held: 1
                << entries(bytes / 8, HELD)
                    .clamp(1, HELD_PLACES as u32)
                    .ilog2(),
            attempts: entries(bytes / 16 * 9, ATTEMPT) as usize,
        }
    }

    /// With a ring buffer of this size, if one was asked for.
    pub(crate) fn with_ring(self, ring_bytes: Option<u32>) -> Self {
        Self {
            ring_bytes: ring_bytes.unwrap_or(self.ring_bytes),
            ..self
        }
    }
}

/// How much memory there is for maps and tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The least limit of this process's control groups.
    limit: Option<u64>,
}

impl Memory {
    /// Of the control group that this process is in.
    pub(crate) fn here() -> Self {
        Self {
            limit: cgroup::memory_limit(),
        }
    }

    /// Whether there is far more than a trace takes.
    pub(crate) fn is_ample(self) -> bool {
        self.limit.is_none_or(|limit| limit >= AMPLE)
    }

    /// What maps and tables may take: what was asked for, or what fits.
    ///
    /// # Errors
    ///
    /// It does not fit in the control group, in a sentence.
    pub(crate) fn budget(self, asked: Option<u64>) -> Result<u64, String> {
        let Some(limit) = self.limit else {
            return Ok(asked.unwrap_or(DEFAULT));
        };
        let fits = limit.saturating_sub(BESIDE);
        match asked {
            _ if fits < LEAST => Err(format!(
                "the control group of this process is limited to {}, and a trace takes at least {}",
                mebibytes(limit),
                mebibytes(BESIDE + LEAST)
            )),
            Some(asked) if asked > fits => Err(format!(
                "--memory {}M does not fit: the control group of this process is limited to {}, of which \
                 a trace takes {} for itself; at most --memory {}M fits, or raise the limit to {}",
                asked / MIB,
                mebibytes(limit),
                mebibytes(BESIDE),
                fits / MIB,
                mebibytes(BESIDE + asked)
            )),
            asked => Ok(asked.unwrap_or(DEFAULT.min(fits))),
        }
    }

    /// What there is without `--memory`, for reading.
    ///
    /// # Errors
    ///
    /// As of [`Memory::budget`].
    pub(crate) fn describe(self) -> Result<String, String> {
        let mut text = format!("{} for maps and tables", mebibytes(self.budget(None)?));
        if let Some(limit) = self.limit {
            let _ = write!(text, ", of the {} of its control group", mebibytes(limit));
        }
        Ok(text)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: Option<u64>, asked: Option<u64>) -> Result<u64, String> {
        let memory = Memory {
            limit: limit.map(|limit| limit * MIB),
        };
        let found = memory.budget(asked.map(|asked| asked * MIB));
        found.map(|bytes| bytes / MIB)
    }

    #[test]
    fn the_default_is_bounded_by_the_control_group() {
        assert_eq!(budget(None, None), Ok(64));
        assert_eq!(budget(Some(1024), None), Ok(64));
        assert_eq!(budget(Some(96), None), Ok(48));
        assert_eq!(budget(Some(64), None), Ok(16));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        assert_eq!(budget(None, Some(512)), Ok(512));
        assert_eq!(budget(Some(96), Some(20)), Ok(20));
        let said = budget(Some(96), Some(64)).unwrap_err();
        assert!(said.contains("at most --memory 48M fits"), "{said}");
        assert!(said.ends_with("raise the limit to 112 MiB"), "{said}");
        let said = budget(Some(32), None).unwrap_err();
        assert!(
            said.ends_with("limited to 32 MiB, and a trace takes at least 64 MiB"),
            "{said}"
        );
        assert_eq!(budget(Some(32), Some(16)).unwrap_err(), said);
    }

    #[test]
    fn the_shares_add_up_to_no_more_than_there_is() {
        for bytes in [LEAST, DEFAULT, 100 * MIB, 16 << 30] {
            let Budget {
                ring_bytes,
                drop_kinds,
                handshakes,
                held,
                attempts,
            } = Budget::of(bytes);
            let all = u64::from(ring_bytes)
                + u64::from(drop_kinds) * DROP_KIND
                + u64::from(handshakes) * HANDSHAKE
                + u64::from(held) * HELD
                + attempts as u64 * ATTEMPT;
            assert!((bytes / 2..=bytes).contains(&all), "{bytes}: {all}");
            assert!(ring_bytes.is_power_of_two() && held.is_power_of_two());
        }
        assert_eq!(Budget::of(DEFAULT).ring_bytes, 4 << 20);
        assert_eq!(Budget::of(DEFAULT).with_ring(Some(4096)).ring_bytes, 4096);
    }
}
