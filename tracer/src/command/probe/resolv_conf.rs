//! The resolver's configuration of the source.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::{
    cli::options::ProbeConfig,
    cluster::live::Cluster,
    net::netns::{NetnsRef, processes_in},
    probe::{plan::Source, resolv::Resolver},
};

/// The largest file that is read: it is a pod's.
const LARGEST: u64 = 64 << 10;

/// Reads it: the file of the option, or the one that a process in the source's namespace sees.
///
/// # Errors
///
/// There is none; the reason in words.
pub(super) fn read(
    config: &ProbeConfig,
    source: &Source,
    cluster: &Cluster,
) -> Result<Resolver, String> {
    if let Some(path) = &config.resolv_conf {
        let shown = path.display().to_string();
        let text = open(path).and_then(text);
        return text
            .map(|text| Resolver::parse(&text, &shown))
            .map_err(|error| format!("cannot read {shown}: {error}"));
    }
    let origin = "/etc/resolv.conf";
    let of_named = match &source.netns {
        NetnsRef::Own => Some(PathBuf::from(origin)),
        // What `ip netns exec` shows to processes in it.
        NetnsRef::Path(path) if path.parent() == Some(Path::new("/run/netns")) => path
            .file_name()
            .map(|name| Path::new("/etc/netns").join(name).join("resolv.conf")),
        _ => None,
    };
    if let Some(path) = of_named
        && let Ok(text) = open(&path).and_then(text)
    {
        return Ok(Resolver::parse(&text, path.display().to_string()));
    }
    let inode = source.inode;
    let of_pod = cluster
        .pod_of_netns(inode)
        .and_then(|pod| pod.sandbox.as_ref()?.pid);
    let processes = of_pod.into_iter().chain(processes_in(inode));
    for pid in processes.take(8) {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        if let Ok(text) = open_below(&root, Path::new("etc/resolv.conf")).and_then(text) {
            return Ok(Resolver::parse(&text, format!("{origin} of process {pid}")));
        }
    }
    Err(format!(
        "no process in {} has an {origin} that can be read; --resolv-conf FILE names one",
        source.name
    ))
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // A pipe would wait for a writer.
    File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// Opens a file in another root, which no link in it leads out of.
fn open_below(root: &Path, path: &Path) -> io::Result<File> {
    let root = File::open(root)?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(openat2(root.as_fd(), path, how)?.into())
}

fn text(file: File) -> io::Result<String> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
