//! What is known of the cluster: pods, namespaces, nodes, Services, EndpointSlices and
//! NetworkPolicies, in the few fields that matter here.
//!
//! - [`objects`]: the objects; [`selector`]: label selectors; [`policy`]: NetworkPolicies
//! - [`convert`]: from the API's types, checked; `item`: from one object's text
//! - [`dump`]: from files, as kubectl writes them
//! - [`source`]: from every source of a trace, sent as [`update`]s
//! - [`view`]: all of them together; [`owner`]: whose an address is; [`workload`]: what makes pods;
//!   `unreadable`: what exists and could not be read
//! - [`resolve`]: the addresses and ports behind a name
//! - [`live`]: a view that follows its sources; [`history`]: whose an address was; [`naming`]: who
//!   is at an end of a flow
//!
//! A kind of objects that no source has reported is *unknown*, not empty: see [`view::View::knows`].
//! What is read from outside is checked once, in [`convert`]; names and labels that no API server
//! would take (control characters among them) never get further.

pub(crate) mod convert;
pub(crate) mod dump;
pub(crate) mod foreign;
pub(crate) mod history;
mod item;
mod kind;
pub(crate) mod live;
pub(crate) mod naming;
pub(crate) mod objects;
pub(crate) mod owner;
pub(crate) mod plugin;
pub(crate) mod policy;
pub(crate) mod resolve;
pub(crate) mod selector;
pub(crate) mod source;
pub(crate) mod unreadable;
pub(crate) mod update;
pub(crate) mod view;
pub(crate) mod workload;
