//! One object as JSON or YAML has it, before it is known what it is.

use std::net::IpAddr;

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery, networking::v1 as net};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{
    convert,
    objects::ObjectName,
    unreadable::UnreadableName,
    view::{Kind, Object},
};

/// One object, of a file or an answer of the API server.
pub(super) struct Item<'a> {
    /// The line of its file at which it begins, from 1; 0 where there is no file.
    pub(super) line: usize,
    /// The kind that its list gives it, where it does not say one itself.
    pub(super) listed: Option<(String, String)>,
    /// Which list of kinds of all sorts it stands in.
    pub(super) mixed_list: Option<usize>,
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
    /// The object's name, `default` being the namespace of one that names none. Safe to print.
    pub(super) fn id(&self) -> ObjectName {
        let Metadata { name, namespace } = &self.metadata;
        ObjectName::new(
            printable(namespace.as_deref().unwrap_or("default")),
            printable(name.as_deref().unwrap_or("(without a name)")),
        )
    }

    /// What an object says of itself where some of it is not what it should be.
    fn salvage(tree: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let metadata = &tree["metadata"];
        Some(Self {
            api_version: text(&tree["apiVersion"]).unwrap_or_default(),
            kind: text(&tree["kind"]).unwrap_or_default(),
            metadata: Metadata {
                name: text(&metadata["name"]),
                namespace: text(&metadata["namespace"]),
            },
        })
        .filter(|_| tree.is_object())
    }
}

/// The name that an object gives itself, as far as it can be read. A manifest with a name may leave out
/// its namespace: `default`.
fn name_in(metadata: &Value, kind: Kind) -> UnreadableName {
    let name = metadata["name"].as_str().map(printable);
    let namespace = match &metadata["namespace"] {
        _ if matches!(kind, Kind::Node | Kind::Namespace) => Some(String::new()),
        Value::String(namespace) => Some(namespace.clone()).filter(|one| convert::is_proper(one)),
        Value::Null if name.is_some() => Some("default".to_owned()),
        _ => None,
    };
    UnreadableName::new(namespace, name)
}

/// Why an object is left out.
pub(super) struct Malformed {
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

/// What can be said of an object that is left out: without this, what depends on it would be taken
/// for known.
pub(super) struct Remnant {
    pub(super) id: UnreadableName,
    pub(super) ips: Vec<IpAddr>,
}

impl Item<'_> {
    /// What it says of itself; `None` if it is no object of an API.
    pub(super) fn head(&self) -> Option<Head> {
        let mut head = self.parse().ok().or_else(|| Head::salvage(&self.tree()?))?;
        if let (true, Some((version, kind))) = (head.kind.is_empty(), &self.listed) {
            head.api_version.clone_from(version);
            head.kind.clone_from(kind);
        }
        (!head.kind.is_empty()).then_some(head)
    }

    /// It, as an object of this kind.
    pub(super) fn object(&self, kind: Kind) -> Result<Object, Malformed> {
        let converted = match kind {
            Kind::Pod => convert::pod(self.parse::<core::Pod>()?).map(Object::from),
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
        converted.map_err(|message| Malformed {
            line: None,
            message,
        })
    }

    /// What can be said of it although it could not be read.
    pub(super) fn remnant(&self, kind: Kind) -> Remnant {
        let tree = self.tree().unwrap_or_default();
        let mut texts = Vec::new();
        for list in [
            &tree["status"]["podIPs"],
            &tree["status"]["addresses"],
            &tree["status"]["loadBalancer"]["ingress"],
        ] {
            let entries = list.as_array().into_iter().flatten();
            texts.extend(entries.flat_map(|entry| [&entry["ip"], &entry["address"]]));
        }
        for list in [&tree["spec"]["clusterIPs"], &tree["spec"]["externalIPs"]] {
            texts.extend(list.as_array().into_iter().flatten());
        }
        texts.extend([&tree["status"]["podIP"], &tree["spec"]["clusterIP"]]);
        let ips = texts.into_iter().filter_map(|text| {
            let ip: IpAddr = text.as_str()?.parse().ok()?;
            Some(ip.to_canonical())
        });
        Remnant {
            id: name_in(&tree["metadata"], kind),
            ips: ips.collect(),
        }
    }

    /// All that it says, however odd.
    pub(super) fn tree(&self) -> Option<Value> {
        match &self.body {
            Body::Text(text) => serde_json::from_str(text.get()).ok(),
            Body::Tree(tree) => Some(tree.clone()),
        }
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        match &self.body {
            Body::Text(text) => serde_json::from_str(text.get()).map_err(|error| Malformed {
                line: Some(self.line + error.line().saturating_sub(1)),
                message: without_place(&error),
            }),
            Body::Tree(tree) => T::deserialize(tree).map_err(|error| Malformed {
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

/// How many characters of a foreign text are shown.
const SHOWN: usize = 200;

/// A foreign text, without what a terminal would take for a command, and not at any length.
pub(super) fn printable(text: &str) -> String {
    let escaped = |c: char| match c {
        ' '..='~' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(SHOWN).map(escaped).collect();
    if chars.next().is_some() {
        shown += " …";
    }
    shown
}
