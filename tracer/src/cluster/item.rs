//! One object as JSON or YAML has it, before it is known what it is.

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery, networking::v1 as net};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{
    convert,
    objects::ObjectName,
    view::{Kind, Object},
};

/// One object, of a file or an answer of the API server.
pub(super) struct Item<'a> {
    /// The line of its file at which it begins, from 1; 0 where there is no file.
    pub(super) line: usize,
    /// The kind that its list gives it, where it does not say one itself.
    pub(super) listed: Option<(String, String)>,
    /// The object.
    pub(super) body: Body<'a>,
}

/// An object as its file has it.
pub(super) enum Body<'a> {
    /// A piece of a JSON text: what is wrong in it has a line.
    Text(&'a RawValue),
    /// What YAML says, or an event of a watch.
    Tree(Value),
}

/// What an object says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Head {
    pub(super) api_version: String,
    pub(super) kind: String,
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

impl Head {
    /// The object's name, `default` being the namespace of one that names none.
    pub(super) fn id(&self) -> ObjectName {
        let Metadata { name, namespace } = &self.metadata;
        ObjectName::new(
            namespace.as_deref().unwrap_or("default"),
            name.as_deref().unwrap_or("(without a name)"),
        )
    }
}

/// Why an object makes no sense.
pub(super) struct Senseless {
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

impl Item<'_> {
    /// What it says of itself; `None` if it is no object of an API.
    pub(super) fn head(&self) -> Option<Head> {
        let mut head: Head = self.parse().ok()?;
        if let (true, Some((version, kind))) = (head.kind.is_empty(), &self.listed) {
            head.api_version.clone_from(version);
            head.kind.clone_from(kind);
        }
        (!head.kind.is_empty()).then_some(head)
    }

    /// It, as an object of this kind.
    pub(super) fn object(&self, kind: Kind) -> Result<Object, Senseless> {
        let converted = match kind {
            Kind::Pod => convert::pod(self.parse::<core::Pod>()?).map(Object::Pod),
            Kind::Namespace => convert::namespace(self.parse::<core::Namespace>()?)
                .map(|(name, labels)| Object::Namespace(name, labels)),
            Kind::Node => convert::node(self.parse::<core::Node>()?).map(Object::Node),
            Kind::Service => convert::service(self.parse::<core::Service>()?).map(Object::Service),
            Kind::EndpointSlice => {
                convert::endpoint_slice(self.parse::<discovery::EndpointSlice>()?)
                    .map(Object::EndpointSlice)
            }
            Kind::NetworkPolicy => {
                convert::policy(self.parse::<net::NetworkPolicy>()?).map(Object::Policy)
            }
        };
        converted.map_err(|message| Senseless {
            line: None,
            message,
        })
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, Senseless> {
        match &self.body {
            Body::Text(text) => serde_json::from_str(text.get()).map_err(|error| Senseless {
                line: Some(self.line + error.line().saturating_sub(1)),
                message: without_place(&error),
            }),
            Body::Tree(tree) => T::deserialize(tree).map_err(|error| Senseless {
                line: None,
                message: error.to_string(),
            }),
        }
    }
}

/// The message of an error whose place is said otherwise: the lines it counts are not the file's.
pub(super) fn without_place(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    message
        .strip_suffix(&place)
        .map(str::to_owned)
        .unwrap_or(message)
}

/// A foreign text, without what a terminal would take for a command.
pub(super) fn printable(text: &str) -> String {
    let escaped = |c: char| match c {
        ' '..='~' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    text.chars().map(escaped).collect()
}
