//! Kubeconfigs, read with limits, and only if no other user can write them: they name programs that
//! are run as this user.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use futures_util::FutureExt as _;
use kube::{
    Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::{Unusable, pipe};
use crate::cluster::{item::printable, source::limits::KUBECONFIG};

/// The merged files: of several values, the first one counts, as for kubectl.
pub(super) fn read(paths: &[PathBuf], context: Option<&str>) -> Result<Config, Unusable> {
    let mut merged = Kubeconfig::default();
    for path in paths {
        let one = one(path)?;
        merged = merged.merge(one).map_err(reason)?;
    }
    check_files(&merged)?;
    // A future that only reads files: it is done at once.
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    Config::from_custom_kubeconfig(merged, &options)
        .now_or_never()
        .ok_or_else(|| Unusable::Wrong("reading it takes too long".to_owned()))?
        .map_err(|error| match (error, context) {
            (KubeconfigError::LoadContext(name), Some(_)) => {
                Unusable::Wrong(format!("it has no context \"{}\"", printable(&name)))
            }
            (error, _) => reason(error),
        })
}

fn one(path: &Path) -> Result<Kubeconfig, Unusable> {
    let unreadable = |error: io::Error| Unusable::Wrong(format!("it cannot be read: {error}"));
    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.file_type().is_fifo() {
        // Of a shell's `<(…)`: it has no directory that the files it names could be in.
        let text = pipe::read(&file, KUBECONFIG).map_err(unreadable)?;
        refuse_large(&text, "it")?;
        return Kubeconfig::from_yaml(&String::from_utf8_lossy(&text)).map_err(reason);
    }
    if !metadata.is_file() {
        return Err(Unusable::Wrong("it is not a file".to_owned()));
    }
    refuse_writable(path)?;
    refuse_half_a_character(&limited(file, "it")?)?;
    Kubeconfig::read_from(path).map_err(reason)
}

/// The library counts on UTF-16 being whole, and fails otherwise.
fn refuse_half_a_character(text: &[u8]) -> Result<(), Unusable> {
    match text {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] if text.len() % 2 == 1 => Err(Unusable::Wrong(
            "it is not a kubeconfig: UTF-16 that is cut off".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// What a file holds, if it is of a size that a person or a tool would write.
fn limited(file: File, what: &str) -> Result<Vec<u8>, Unusable> {
    let mut bytes = Vec::new();
    let read = file.take(KUBECONFIG + 1).read_to_end(&mut bytes);
    read.map_err(|error| Unusable::Wrong(format!("{what} cannot be read: {error}")))?;
    refuse_large(&bytes, what)?;
    Ok(bytes)
}

fn refuse_large(text: &[u8], what: &str) -> Result<(), Unusable> {
    let limit = KUBECONFIG >> 20;
    match text.len() as u64 > KUBECONFIG {
        true => Err(Unusable::Wrong(format!(
            "{what} is larger than {limit} MiB"
        ))),
        false => Ok(()),
    }
}

/// Refuses a file that every user can write, or put another in the place of.
fn refuse_writable(path: &Path) -> Result<(), Unusable> {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    for (place, is_file) in real
        .ancestors()
        .zip([true].into_iter().chain(std::iter::repeat(false)))
    {
        let Ok(metadata) = fs::metadata(place) else {
            continue;
        };
        let mode = metadata.mode();
        let is_kept = !is_file && mode & STICKY != 0;
        if mode & OTHERS_WRITE != 0 && !is_kept {
            let what = match is_file {
                true => "every user can write it".to_owned(),
                false => format!("every user can write to its directory {}", place.display()),
            };
            let place = place.display().to_string();
            return Err(Unusable::Unsafe(format!(
                "{what}, and so have programs run as you: it is not used until \
                 `chmod o-w {}`",
                shell_word(&place)
            )));
        }
    }
    Ok(())
}

/// A word for a shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.+@:".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", printable(text).replace('\'', r"'\''")),
    }
}

/// The files that it names are read by a library, whole: they must be files, and small.
fn check_files(kubeconfig: &Kubeconfig) -> Result<(), Unusable> {
    let clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|one| one.cluster.as_ref());
    let authorities = clusters.filter_map(|cluster| {
        let path = cluster.certificate_authority.as_ref()?;
        Some(("certificate-authority", path))
    });
    let users = kubeconfig
        .auth_infos
        .iter()
        .filter_map(|one| one.auth_info.as_ref());
    let of_user = |user: &AuthInfo| {
        let files = [
            ("tokenFile", user.token_file.clone()),
            ("client-certificate", user.client_certificate.clone()),
            ("client-key", user.client_key.clone()),
        ];
        files
            .into_iter()
            .filter_map(|(field, path)| Some((field, path?)))
    };
    let files = authorities
        .map(|(field, path)| (field, path.clone()))
        .chain(users.flat_map(of_user));
    for (field, path) in files {
        // What is not there is the library's to complain of, if it is needed.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if !metadata.is_file() || metadata.len() > KUBECONFIG {
            return Err(Unusable::Wrong(format!(
                "its {field} {} is not a file of at most {} MiB",
                printable(&path),
                KUBECONFIG >> 20
            )));
        }
    }
    Ok(())
}

/// What is wrong, in words of ours: the library quotes what it does not understand, and that may be
/// a password.
fn reason(error: KubeconfigError) -> Unusable {
    let file = |what: &str| format!("its {what} cannot be read");
    Unusable::Wrong(match error {
        KubeconfigError::ReadConfig(error, _) => format!("it cannot be read: {error}"),
        KubeconfigError::CurrentContextNotSet => "it has no current-context".to_owned(),
        KubeconfigError::LoadContext(name) => format!(
            "its current-context is \"{}\", which is not among its contexts",
            printable(&name)
        ),
        KubeconfigError::LoadClusterOfContext(name) => format!(
            "its context names the cluster \"{}\", which is not in it",
            printable(&name)
        ),
        KubeconfigError::Parse(error) => match error.location() {
            Some(place) => format!(
                "it is not a kubeconfig: line {}, column {}",
                place.line(),
                place.column()
            ),
            None => "it is not a kubeconfig".to_owned(),
        },
        KubeconfigError::MissingClusterUrl => "its cluster has no server".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => "its server is not a URL".to_owned(),
        KubeconfigError::ParseProxyUrl(_) => "its proxy-url is not a URL".to_owned(),
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => {
            "its files are of different kinds".to_owned()
        }
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            file("certificate-authority")
        }
        KubeconfigError::LoadClientCertificate(_) => file("client-certificate"),
        KubeconfigError::LoadClientKey(_) => file("client-key"),
        KubeconfigError::FindPath => "it is not there".to_owned(),
    })
}
