//! Writes a cpio archive of the format `newc`, which the kernel unpacks as its first root.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;

/// An archive that is being written. Paths in it have no leading slash.
pub(super) struct Archive {
    out: BufWriter<File>,
    written: u64,
    entries: u32,
    paths: BTreeSet<String>,
}

impl Archive {
    /// Starts one.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            out: BufWriter::new(file),
            written: 0,
            entries: 0,
            paths: BTreeSet::new(),
        })
    }

    /// Adds a directory, and those above it.
    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, DIRECTORY, &[])
    }

    /// Adds a symbolic link.
    pub(super) fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, SYMLINK, target.as_bytes())
    }

    /// Adds a file that may be executed.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path, PROGRAM, content)
    }

    /// Adds a copy of a file of this machine.
    pub(super) fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let content =
            std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, &content)
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.out.flush()?)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/') {
            self.entry(&path[..end], DIRECTORY, &[])?;
        }
        Ok(())
    }

    /// Adds an entry, unless there is one of this name.
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        if !self.paths.insert(path.to_owned()) {
            return Ok(());
        }
        self.entries += 1;
        let size = u32::try_from(content.len()).context("no file is larger than 4 GB")?;
        let name_size = u32::try_from(path.len() + 1)?;
        let fields = [
            self.entries, // inode
            mode,
            0, // owner
            0, // group
            1, // links
            0, // time
            size,
            0, // device of the file system
            0,
            0, // device of a node
            0,
            name_size,
            0, // checksum, of another format
        ];
        self.put(b"070701")?;
        for field in fields {
            self.put(format!("{field:08x}").as_bytes())?;
        }
        self.put(path.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(content)?;
        self.pad()
    }

    /// Headers and contents start at multiples of four.
    fn pad(&mut self) -> Result<()> {
        let missing = (4 - self.written % 4) % 4;
        self.put(&[0; 4][..missing as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        Ok(self.out.write_all(bytes)?)
    }
}
