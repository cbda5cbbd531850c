//! What must not be shown, wherever it turns up.

use std::{fmt, sync::Arc};

use kube::Config;
use secrecy::ExposeSecret as _;

/// Texts that are replaced in whatever is said of an API server. Sentences here are made of public
/// words; but libraries and servers quote.
#[derive(Clone, Default)]
pub(in crate::cluster::source::api) struct Secrets(Arc<Vec<String>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// Shorter ones would be found in innocent words.
const SHORTEST: usize = 4;

impl Secrets {
    /// All of a configuration.
    pub(super) fn of(config: &Config) -> Self {
        let user = &config.auth_info;
        let mut found: Vec<String> = Vec::new();
        let hidden = [&user.password, &user.token, &user.client_key_data];
        let hidden = hidden.into_iter().flatten();
        found.extend(hidden.map(|secret| secret.expose_secret().to_owned()));
        if let Some(exec) = &user.exec {
            found.extend(exec.args.iter().flatten().cloned());
            let variables = exec.env.iter().flatten();
            found.extend(variables.filter_map(|one| one.get("value").cloned()));
        }
        if let Some(provider) = &user.auth_provider {
            found.extend(provider.config.values().cloned());
        }
        let urls = [Some(&config.cluster_url), config.proxy_url.as_ref()];
        for url in urls.into_iter().flatten() {
            found.extend(user_info(url));
            found.extend(url.query().map(str::to_owned));
        }
        Self(Arc::new(found)).normalized()
    }

    /// These, and some more.
    pub(in crate::cluster::source::api) fn and(
        &self,
        more: impl IntoIterator<Item = String>,
    ) -> Self {
        let all = self.0.iter().cloned().chain(more);
        Self(Arc::new(all.collect())).normalized()
    }

    /// The longest first, so that none is left in part.
    fn normalized(self) -> Self {
        let mut all: Vec<String> = self.0.iter().map(|text| text.trim().to_owned()).collect();
        all.retain(|text| text.len() >= SHORTEST);
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        all.dedup();
        Self(Arc::new(all))
    }

    /// A text without them.
    pub(in crate::cluster::source::api) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.0.iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "[redacted]");
            }
        }
        text
    }
}

/// What stands before the `@` of a URL, whole and in its parts.
fn user_info(url: &http::Uri) -> Vec<String> {
    let authority = url.authority().map(http::uri::Authority::as_str);
    let Some((user, _)) = authority.and_then(|authority| authority.rsplit_once('@')) else {
        return Vec::new();
    };
    let parts = user.split(':').map(str::to_owned);
    parts.chain([user.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_quotes_is_not_shown() {
        let mut config = Config::new(
            "http://user:LEAKPASS@127.0.0.1:1/x?key=LEAKKEY"
                .parse()
                .unwrap(),
        );
        config.auth_info.token = Some("LEAKTOKEN".to_owned().into());
        let secrets = Secrets::of(&config).and(["LEAKMORE".to_owned()]);
        let text =
            secrets.redact("to user:LEAKPASS@h with Bearer LEAKTOKEN, LEAKMORE, key=LEAKKEY");
        assert!(!text.contains("LEAK"), "{text}");
        assert_eq!(
            text,
            "to [redacted]@h with Bearer [redacted], [redacted], [redacted]"
        );
    }
}
