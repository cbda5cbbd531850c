//! Archives that are the same bytes for the same files.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use sha2::{Digest as _, Sha256};

/// A file that is shipped.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Its path in the archive, without a slash in front.
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) bytes: Vec<u8>,
}

impl File {
    /// A program.
    pub(super) fn program(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            mode: 0o755,
            bytes,
        }
    }

    /// Anything else.
    pub(super) fn plain(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            mode: 0o644,
            bytes: bytes.into(),
        }
    }

    /// The same below another path.
    pub(super) fn at(&self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self.clone()
        }
    }
}

/// A tar archive: root's files, with one time for all of them.
pub(super) fn tar<'a>(files: impl IntoIterator<Item = &'a File>, time: u64) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut directories = Vec::new();
    for file in files {
        for (end, _) in file.path.match_indices('/') {
            let directory = &file.path[..=end];
            if directory != "./" && !directories.contains(&directory) {
                directories.push(directory);
                let mut header = header(tar::EntryType::Directory, 0o755, 0, time);
                archive.append_data(&mut header, directory, &[][..])?;
            }
        }
        let size = file.bytes.len() as u64;
        let mut header = header(tar::EntryType::Regular, file.mode, size, time);
        archive.append_data(&mut header, &file.path, file.bytes.as_slice())?;
    }
    Ok(archive.into_inner()?)
}

fn header(kind: tar::EntryType, mode: u32, size: u64, time: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Compressed, without a name and a time of its own.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder: GzEncoder<Vec<u8>> = GzBuilder::new()
        .mtime(0)
        // Unix.
        .operating_system(3)
        .write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// In hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_same_files_are_the_same_bytes() {
        let files = [
            File::program("usr/bin/a", vec![1; 4000]),
            File::plain("usr/share/doc/a/b", "text"),
        ];
        let one = gzip(&tar(&files, 1_700_000_000).expect("tar")).expect("gzip");
        let other = gzip(&tar(&files, 1_700_000_000).expect("tar")).expect("gzip");
        assert_eq!(one, other);
        let mut plain = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(one.as_slice());
        decoder.read_to_end(&mut plain).expect("it is gzip");
        let mut archive = tar::Archive::new(plain.as_slice());
        let names: Vec<String> = archive
            .entries()
            .expect("it is tar")
            .map(|entry| {
                let entry = entry.expect("an entry");
                assert_eq!(entry.header().mtime().expect("a time"), 1_700_000_000);
                entry.path().expect("a path").display().to_string()
            })
            .collect();
        let expected = [
            "usr/",
            "usr/bin/",
            "usr/bin/a",
            "usr/share/",
            "usr/share/doc/",
            "usr/share/doc/a/",
            "usr/share/doc/a/b",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn digests_are_those_of_sha256sum() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }
}
