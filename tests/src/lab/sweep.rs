//! Cleaning up after processes that could not.

use std::{fs, path::Path};

use super::namespace;

/// Deletes the namespaces of labs whose process is no more.
pub fn sweep() {
    // No directory: no namespace has been made yet.
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if owner(name).is_some_and(|pid| !Path::new("/proc").join(pid).exists())
            // Another test process may be sweeping too; the second one finds nothing.
            && let Err(error) = namespace::delete(name)
        {
            eprintln!("cannot sweep up {name}: {error:#}");
        }
    }
}

/// The process id in a lab's namespace name.
fn owner(name: &str) -> Option<&str> {
    let (pid, _) = name.strip_prefix("wd-")?.split_once('-')?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(pid)
}
