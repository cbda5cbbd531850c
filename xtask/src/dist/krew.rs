//! The manifest by which `kubectl krew install whydrop` finds the plugin.

use super::{
    archive::sha256,
    release::{Release, SUMMARY},
};

/// An archive with the plugin, for one platform.
pub(super) struct Platform<'a> {
    pub(super) os: &'static str,
    pub(super) architecture: &'static str,
    /// The archive's file name.
    pub(super) name: String,
    pub(super) archive: &'a [u8],
}

/// The manifest; `None` without a homepage, below which the archives are.
pub(super) fn manifest(release: &Release, platforms: &[Platform<'_>]) -> Option<String> {
    let homepage = release.homepage.as_deref()?;
    let tag = release.tag();
    let mut text = format!(
        "apiVersion: krew.googlecontainertools.github.com/v1alpha2\n\
         kind: Plugin\n\
         metadata:\n  name: whydrop\n\
         spec:\n  version: {tag}\n  homepage: {homepage}\n  shortDescription: {SUMMARY}\n  \
         description: |\n    Traces one connection on the nodes of both of its ends, joins what they saw, and names\n    \
         what dropped it: the NetworkPolicy, the firewall rule, the route, the tunnel, the MTU, the\n    \
         full queue, or the network between the nodes.\n  \
         caveats: |\n    Each run creates one Job per node, and deletes it at the end. Its pod is not privileged, but\n    \
         sees its node: the namespace must allow that (PodSecurity level privileged), and the\n    \
         node's kernel must have BTF (Linux 5.8 or later).\n  platforms:\n"
    );
    for platform in platforms {
        let Platform {
            os,
            architecture,
            name,
            archive,
        } = platform;
        // A literal path: krew takes the target of a glob for a directory.
        let top = name.trim_end_matches(".tar.gz");
        text += &format!(
            "  - selector:\n      matchLabels:\n        os: {os}\n        arch: {architecture}\n    \
             uri: {homepage}/releases/download/{tag}/{name}\n    sha256: {}\n    bin: kubectl-whydrop\n    \
             files:\n    - from: {top}/whydrop\n      to: kubectl-whydrop\n    - from: {top}/LICENSE\n      \
             to: .\n",
            sha256(archive)
        );
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn krew_takes_short_descriptions_only() {
        assert!(SUMMARY.len() < 50, "{}", SUMMARY.len());
        let platforms = [Platform {
            os: "linux",
            architecture: "amd64",
            name: "whydrop.tar.gz".to_owned(),
            archive: b"",
        }];
        let release = Release::example(0, Some("https://git.example/whydrop"));
        let text = manifest(&release, &platforms).expect("it has a homepage");
        assert!(
            text.contains("version: v1.2.3") && text.contains("arch: amd64"),
            "{text}"
        );
        assert!(
            text.contains("from: whydrop/whydrop\n") && !text.contains('*'),
            "{text}"
        );
        let uri = "uri: https://git.example/whydrop/releases/download/v1.2.3/whydrop.tar.gz";
        assert!(text.contains(uri), "{text}");
        assert_eq!(manifest(&Release::example(0, None), &platforms), None);
    }
}
