//! The container image: one static file on nothing, for each architecture.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    archive::{File, gzip, sha256, tar},
    release::Release,
};

/// An image, as its blobs.
struct Image {
    architecture: &'static str,
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

/// An OCI image layout with an image for each architecture, as one tar archive: `ctr images import`,
/// `skopeo copy oci-archive:…` and `kind load image-archive` take it.
pub(super) fn oci_layout(
    release: &Release,
    programs: &[(&'static str, Vec<u8>)],
) -> Result<Vec<u8>> {
    let images = images(release, programs)?;
    let manifests: Vec<Value> = images
        .iter()
        .map(|image| {
            let mut descriptor = descriptor(MANIFEST, &image.manifest);
            descriptor["platform"] = json!({"architecture": image.architecture, "os": "linux"});
            descriptor
        })
        .collect();
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests,
        "annotations": annotations(release),
    }))?;
    let mut entry = descriptor(INDEX, &index);
    entry["annotations"] = json!({
        "org.opencontainers.image.ref.name": release.tag(),
        "io.containerd.image.name": release.image_and_tag(),
    });
    let top = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    let mut files = vec![
        File::plain("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        File::plain("index.json", serde_json::to_vec(&top)?),
        blob(&index),
    ];
    for image in &images {
        files.extend([&image.manifest, &image.config, &image.layer].map(|bytes| blob(bytes)));
    }
    tar(&files, release.time)
}

/// The same for `docker load`, which knows no index: one tag for each architecture.
pub(super) fn docker(release: &Release, programs: &[(&'static str, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut files = Vec::new();
    let mut entries = Vec::new();
    for image in images(release, programs)? {
        let (config, layer) = (blob(&image.config), blob(&image.layer));
        entries.push(json!({
            "Config": config.path,
            "RepoTags": [format!("{}-{}", release.image_and_tag(), image.architecture)],
            "Layers": [layer.path],
        }));
        files.extend([config, layer]);
    }
    files.push(File::plain("manifest.json", serde_json::to_vec(&entries)?));
    tar(&files, release.time)
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn images(release: &Release, programs: &[(&'static str, Vec<u8>)]) -> Result<Vec<Image>> {
    let images = programs.iter().map(|(architecture, program)| {
        let files = [
            File::program("whydrop", program.clone()),
            File::plain("LICENSE", release.licenses()?),
        ];
        let plain = tar(&files, release.time)?;
        let layer = gzip(&plain)?;
        let config = serde_json::to_vec(&json!({
            "created": release.rfc3339(),
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": ["/whydrop"],
                "Labels": annotations(release),
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&plain))]},
            "history": [{"created": release.rfc3339(), "created_by": "cargo xtask dist"}],
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
            "annotations": annotations(release),
        }))?;
        Ok(Image {
            architecture,
            layer,
            config,
            manifest,
        })
    });
    images.collect()
}

fn annotations(release: &Release) -> Value {
    let mut annotations = json!({
        "org.opencontainers.image.title": "whydrop",
        "org.opencontainers.image.description": super::release::SUMMARY,
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.revision": release.revision,
        "org.opencontainers.image.licenses": super::release::LICENSES,
    });
    if let Some(homepage) = &release.homepage {
        annotations["org.opencontainers.image.source"] = homepage.as_str().into();
    }
    annotations
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({
        "mediaType": kind,
        "digest": format!("sha256:{}", sha256(bytes)),
        "size": bytes.len(),
    })
}

fn blob(bytes: &[u8]) -> File {
    File::plain(format!("blobs/sha256/{}", sha256(bytes)), bytes)
}
