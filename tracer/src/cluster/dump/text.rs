//! From the bytes of a file to its text: as kubectl, shells and old tools write it.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

/// A quarter of a million pods take half of it.
pub(super) const LARGEST: u64 = 1 << 30;

/// What is made of compressed files, by their first bytes.
const COMPRESSED: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "gunzip"),
    (b"\x28\xb5\x2f\xfd", "unzstd"),
    (b"\xfd7zXZ", "unxz"),
    (b"BZh", "bunzip2"),
    (b"PK\x03\x04", "unzip"),
];

/// Reads the text of a file. A pipe is read to its end; a device never ends.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    refuse_device(&file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong(format!("it is larger than {} GiB", LARGEST >> 30)));
    }
    decode(bytes)
}

fn refuse_device(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_file() || kind.is_fifo() {
        return Ok(());
    }
    Err(wrong(
        if kind.is_dir() {
            "it is a directory"
        } else if kind.is_socket() {
            "it is a socket"
        } else {
            "it is a device: only files and pipes are read"
        }
        .to_owned(),
    ))
}

fn decode(bytes: Vec<u8>) -> io::Result<String> {
    if let Some((_, tool)) = COMPRESSED
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
    {
        return Err(wrong(format!("it is compressed: {tool} it first")));
    }
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, _) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    // PowerShell writes UTF-16, with a byte order mark; without one, the first brace shows it.
    Ok(match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [b'{' | b'a', 0, ..] => wide(&bytes, u16::from_le_bytes),
        [0, b'{' | b'a', ..] => wide(&bytes, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        // What is not UTF-8 is in no field that is read, or spoils it.
        _ => String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    })
}

fn wrong(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The part of a text in front of which kubectl's warnings stand, where stderr went into the file
/// (`2>&1`), and how many lines they are.
pub(super) fn behind_warnings(text: &str) -> (&str, usize) {
    let (mut rest, mut lines) = (text, 0);
    while let Some((line, after)) = rest.split_once('\n') {
        if !line.trim().is_empty() && !is_warning(line) {
            break;
        }
        (rest, lines) = (after, lines + 1);
    }
    (rest, lines)
}

/// `Warning: …`, or as older ones log it: `W0102 15:04:05.000000   12345 warnings.go:70] …`.
fn is_warning(line: &str) -> bool {
    let is_logged = || {
        let mut words = line.split_whitespace();
        let (Some(day), Some(time)) = (words.next(), words.next()) else {
            return false;
        };
        let digits = day.strip_prefix(['W', 'I', 'E']);
        digits.is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()))
            && time.contains(':')
            && line.contains("] ")
    };
    line.starts_with("Warning: ") || is_logged()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> String {
        decode(bytes.to_vec()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn shells_write_text_in_several_ways() {
        let wide = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(unit).collect()
        };
        assert_eq!(decoded(&wide("\u{feff}{é", u16::to_le_bytes)), "{é");
        assert_eq!(decoded(&wide("\u{feff}{é", u16::to_be_bytes)), "{é");
        assert_eq!(decoded(&wide("{é", u16::to_le_bytes)), "{é");
        assert_eq!(decoded("\u{feff}{é".as_bytes()), "{é");
        assert_eq!(decoded(b"{\xff}"), "{\u{fffd}}");
        assert_eq!(decoded(b""), "");
    }

    #[test]
    fn what_is_compressed_is_named_with_the_tool_that_helps() {
        assert_eq!(
            decoded(b"\x1f\x8b\x08"),
            "it is compressed: gunzip it first"
        );
        assert_eq!(
            decoded(b"\x28\xb5\x2f\xfd\x00"),
            "it is compressed: unzstd it first"
        );
    }

    #[test]
    fn what_never_ends_is_not_read() {
        for (path, why) in [
            ("/dev/zero", "it is a device: only files and pipes are read"),
            ("/", "it is a directory"),
        ] {
            assert_eq!(read(Path::new(path)).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn warnings_in_front_are_skipped() {
        let text = "Warning: v1 Endpoints is deprecated\n\nW0102 15:04:05.000000   12 \
                    warnings.go:70] old\n{\n}\n";
        assert_eq!(behind_warnings(text), ("{\n}\n", 3));
        for text in ["{}", "Warnings: 1\n", "W0102: x\ny: z\n", ""] {
            assert_eq!(behind_warnings(text), (text, 0), "{text}");
        }
    }
}
