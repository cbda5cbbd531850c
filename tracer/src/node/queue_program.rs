//! The program that decides about packets behind an NFQUEUE, beyond the 15 bytes that the kernel
//! keeps of its name.

use std::{fs, path::Path};

/// A program that has refused a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct QueueProgram {
    /// The file name of its executable.
    pub(crate) executable: Option<String>,
    /// The UID of the pod that it runs in, by its cgroup.
    pub(crate) pod_uid: Option<String>,
}

impl QueueProgram {
    /// The program with this thread. `None` where the thread has gone, or where its number means
    /// another one here: the kernel counts threads in its own namespace of process IDs.
    pub(crate) fn read(thread: u32, comm: &str) -> Option<Self> {
        let process = Path::new("/proc").join(thread.to_string());
        let name = fs::read_to_string(process.join("comm")).ok()?;
        (name.trim_end_matches('\n') == comm).then_some(())?;
        let executable = fs::read_link(process.join("exe")).ok();
        let cgroup = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        Some(Self {
            executable: executable.and_then(|path| file_name(&path)),
            pod_uid: pod_uid(&cgroup),
        })
    }
}

/// The kernel writes ` (deleted)` behind an executable that was replaced since.
fn file_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
}

/// The pod's UID in a path such as `/kubepods/burstable/pod1b…-…/…`; systemd's slices have `_`
/// instead of `-`.
fn pod_uid(cgroup: &str) -> Option<String> {
    /// Digits of each group of a UID.
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let is_uid = |text: &str| {
        let groups: Vec<_> = text.split('-').collect();
        groups.len() == GROUPS.len()
            && groups.iter().zip(GROUPS).all(|(group, digits)| {
                group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
    };
    let of_part = |part: &str| {
        let (_, uid) = part.trim_end_matches(".slice").rsplit_once("pod")?;
        let uid = uid.replace('_', "-");
        is_uid(&uid).then_some(uid)
    };
    cgroup.split('/').find_map(of_part)
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn a_pod_is_known_by_the_cgroups_of_both_drivers() {
        let uid = "3c9e1f04-7a55-4b3e-9d41-0f0e6a1b2c3d";
        for cgroup in [
            format!("0::/kubepods/burstable/pod{uid}/0123abcd\n"),
            format!(
                "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{}.slice/cri-x.scope\n",
                uid.replace('-', "_")
            ),
        ] {
            assert_eq!(pod_uid(&cgroup).as_deref(), Some(uid), "{cgroup}");
        }
        assert_eq!(pod_uid("0::/system.slice/podman.service\n"), None);
        assert_eq!(pod_uid("0::/machine/podAAAA-é\n"), None);
    }

    #[test]
    fn a_thread_is_read_only_where_it_has_the_name_that_was_seen() {
        let own = process::id();
        let comm = fs::read_to_string("/proc/self/comm").unwrap();
        let found = QueueProgram::read(own, comm.trim_end()).unwrap();
        let executable = std::env::current_exe().unwrap();
        assert_eq!(found.executable, file_name(&executable));
        assert_eq!(QueueProgram::read(own, "another"), None);
        let replaced = Path::new("/bin/netpol (deleted)");
        assert_eq!(file_name(replaced).as_deref(), Some("netpol"));
    }
}
