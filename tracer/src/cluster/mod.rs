//! What is known of the cluster: pods, namespaces, nodes, Services, EndpointSlices and
//! NetworkPolicies, in the few fields that matter here.
//!
//! - [`objects`]: the objects; [`selector`]: label selectors; [`policy`]: NetworkPolicies
//! - [`convert`]: from the API's types, checked; `item`: from one object's text
//! - [`dump`]: from files, as kubectl writes them
//! - [`source`]: from wherever a trace can have them, told as [`update`]s
//! - [`view`]: all of them together; [`owner`]: whose an address is; [`workload`]: what makes pods;
//!   `unreadable`: what exists and could not be read
//! - [`resolve`]: the addresses and ports behind a name
//! - [`live`]: a view that follows its sources; [`history`]: whose an address was; [`naming`]: who
//!   is at an end of a flow
//!
//! A kind of objects that no source has told of is *unknown*, not empty: see [`view::View::knows`].
//! What is read from outside is checked once, in [`convert`]; names and labels that no API server
//! would take (control characters among them) never get further.

pub mod convert;
pub mod dump;
pub mod foreign;
pub mod history;
mod item;
mod kind;
pub mod live;
pub mod naming;
pub mod objects;
pub mod owner;
pub mod plugin;
pub mod policy;
pub mod resolve;
pub mod selector;
pub mod source;
mod unreadable;
pub mod update;
pub mod view;
pub mod workload;
