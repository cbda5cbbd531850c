//! Fixes are texts in JSON: one for a command or a sentence, three for a manifest.

use crate::Fix;

/// The texts of one fix.
fn texts(fix: &Fix) -> Vec<String> {
    let Some(manifest) = fix.as_manifest() else {
        return vec![fix.text()];
    };
    let undo = fix.undo_line().map(|undo| format!("{undo}  # undo"));
    [manifest.text(), fix.line()]
        .into_iter()
        .chain(undo)
        .collect()
}

pub(super) mod fixes {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::texts;
    use crate::Fix;

    pub(in crate::record) fn serialize<S: Serializer>(
        fixes: &[Fix],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(fixes.iter().flat_map(texts))
    }

    pub(in crate::record) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Fix>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        Ok(texts.into_iter().map(Fix::recorded).collect())
    }
}
