//! Whether anything enforces NetworkPolicies here.

use crate::cluster::{plugin::Plugin, view::View};

/// A network plugin that enforces no policies, where the pods show one and none that does.
#[must_use]
pub(crate) fn enforces_nothing(view: &View) -> Option<Plugin> {
    let plugins = view.plugins();
    if plugins.iter().any(|plugin| plugin.enforces()) {
        return None;
    }
    plugins.first().copied()
}

/// That nothing enforces policies, as a sentence.
#[must_use]
pub(crate) fn unenforced(view: &View) -> Option<String> {
    let plugin = enforces_nothing(view)?;
    Some(format!(
        "only {plugin} runs on the nodes, which enforces no NetworkPolicies: all of them are \
         without effect until something does"
    ))
}
