//! What the API server is shown: from the kubeconfig, or from the program that it names.

use kube::config::{AuthInfo, ExecConfig};
use secrecy::ExposeSecret as _;

use super::{
    Unusable,
    plugin::{self, Issued},
};

/// Where the credentials come from.
#[derive(Clone)]
pub(super) enum Credentials {
    /// They are in the configuration, or in files that it names.
    Static,
    /// A program prints them.
    Plugin(Box<ExecConfig>),
}

impl Credentials {
    /// Takes out of a user what the library would run by itself, without a limit.
    pub(super) fn take(user: &mut AuthInfo) -> Result<Self, Unusable> {
        if user.auth_provider.is_some() {
            return Err(Unusable::Wrong(
                "its user has an auth-provider, which Kubernetes 1.26 has removed: use exec"
                    .to_owned(),
            ));
        }
        if let Some(token) = &user.token {
            // A `|` in YAML leaves a newline.
            let token = token.expose_secret().trim().to_owned();
            user.token = Some(token.into());
        }
        let has_others = user.token.is_some()
            || user.token_file.is_some()
            || user.username.is_some() && user.password.is_some();
        match user.exec.take() {
            Some(exec) if !has_others => Ok(Self::Plugin(Box::new(exec))),
            _ => Ok(Self::Static),
        }
    }
}

/// Whether a user's token can be shown to a server at all.
pub(super) fn check(user: &AuthInfo) -> Result<(), String> {
    let token = user.token.as_ref();
    match token.is_none_or(|token| plugin::is_token(token.expose_secret())) {
        true => Ok(()),
        false => Err("the token of the kubeconfig's user is not one word".to_owned()),
    }
}

/// Puts what a program has printed into a user.
pub(super) fn put(issued: &Issued, user: &mut AuthInfo) {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    user.token = issued.token.clone().map(Into::into);
    if let Some((certificate, key)) = &issued.certificate {
        user.client_certificate_data = Some(STANDARD.encode(certificate));
        user.client_key_data = Some(STANDARD.encode(key).into());
    }
}
