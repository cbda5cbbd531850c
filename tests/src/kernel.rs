//! The running kernel: some name their drops otherwise than later ones do.

use std::{fs, sync::OnceLock};

/// Whether it is older than this version. Only for what truly differs between kernels.
pub fn older_than(version: (u32, u32)) -> bool {
    static RUNNING: OnceLock<(u32, u32)> = OnceLock::new();
    *RUNNING.get_or_init(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_else(|error| panic!("the kernel does not say its release: {error}"));
        parse(&release).unwrap_or_else(|| panic!("no version: {release}"))
    }) < version
}

/// The first two numbers of a release.
fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[test]
fn releases() {
    assert_eq!(parse("6.12.117+deb12-cloud-amd64\n"), Some((6, 12)));
    assert_eq!(parse("7.0-rc1"), Some((7, 0)));
}
