//! How much memory the control groups of this process allow, of version 2 or 1.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Limits beyond this are none: version 1 writes "no limit" as a number.
const NO_LIMIT: u64 = 1 << 60;

/// The least limit of the groups that this process is in, in bytes; `None` if there is none that can be
/// seen from here.
pub(super) fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let files = limit_files(&groups, &mounts);
    let read = |file: &PathBuf| limit(&fs::read_to_string(file).ok()?);
    files.iter().filter_map(read).min()
}

/// What a file with a limit says.
fn limit(text: &str) -> Option<u64> {
    // `max` is no number.
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

/// The files that may hold a limit, of this process's groups and of those above them.
fn limit_files(groups: &str, mounts: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for mount in mounts.lines().filter_map(Mount::of) {
        let Some(group) = groups.lines().find_map(|line| mount.group_of(line)) else {
            continue;
        };
        let below = Path::new(group).strip_prefix(mount.root);
        // Another container's view of the tree: what is mounted is the group of this one.
        let below = below.unwrap_or(Path::new(""));
        let group = Path::new(mount.point).join(below);
        let up = group.ancestors();
        let within = up.take_while(|group| group.starts_with(mount.point));
        files.extend(within.map(|group| group.join(mount.file)));
    }
    files
}

/// A tree of control groups that has limits of memory.
struct Mount<'a> {
    /// The group that is mounted.
    root: &'a str,
    /// Where it is mounted.
    point: &'a str,
    /// The file with the limit.
    file: &'static str,
}

impl<'a> Mount<'a> {
    /// Of a line such as `33 32 0:27 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw`.
    fn of(line: &'a str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let mut fields = filesystem.split(' ');
        let (kind, options) = (fields.next()?, fields.nth(1)?);
        let file = match kind {
            "cgroup2" => "memory.max",
            "cgroup" if options.split(',').any(|option| option == "memory") => {
                "memory.limit_in_bytes"
            }
            _ => return None,
        };
        Some(Self { root, point, file })
    }

    /// The group of a line such as `0::/a/b`, or `4:memory:/a/b`, if it is in this tree.
    fn group_of<'l>(&self, line: &'l str) -> Option<&'l str> {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        let is_here = match self.file {
            "memory.max" => controllers.is_empty(),
            _ => controllers.split(',').any(|name| name == "memory"),
        };
        is_here.then_some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str =
        "33 32 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
    const V1: &str = "39 25 0:34 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      40 25 0:35 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";

    fn files(groups: &str, mounts: &str) -> Vec<String> {
        let files = limit_files(groups, mounts);
        files
            .iter()
            .map(|file| file.display().to_string())
            .collect()
    }

    #[test]
    fn a_group_is_limited_by_those_above_it_too() {
        assert_eq!(
            files("0::/kubepods/pod1\n", V2),
            [
                "/sys/fs/cgroup/kubepods/pod1/memory.max",
                "/sys/fs/cgroup/kubepods/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            files("5:cpu:/b\n4:memory:/a\n0::/\n", V1),
            [
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
    }

    #[test]
    fn in_a_container_the_mounted_group_is_its_own() {
        let mount = V1.replacen(" / ", " /docker/1 ", 1);
        assert_eq!(
            files("4:memory:/docker/1/x", &mount),
            [
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
        assert_eq!(
            files("4:memory:/elsewhere", &mount),
            ["/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert!(files("", V2).is_empty() && files("x", "y").is_empty());
    }

    #[test]
    fn no_limit_is_a_word_or_a_large_number() {
        assert_eq!(limit("67108864\n"), Some(64 << 20));
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("9223372036854771712\n"), None);
    }
}
