//! What is wrong with an endpoint, and how to write it correctly.

/// Why a word is not an endpoint: what was expected, with an example. Callers add the word itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    /// Nothing at all.
    #[error("expected an endpoint, such as 10.244.3.17:443 or shop/cart:8080")]
    Empty,
    /// Neither an address nor a name.
    #[error(
        "expected an address (10.244.3.17:443), a prefix (10.244.0.0/16), a port (:443), a pod \
         with its namespace (shop/cart:8080), a Service (svc/shop/cart:80) or a workload \
         (deploy/shop/cart:8080)"
    )]
    Unknown,
    /// Four numbers and dots, but not an IPv4 address.
    #[error("{0}; expected an IPv4 address, such as 10.244.3.17")]
    Ipv4(String),
    /// Colons, but not an IPv6 address.
    #[error(
        "`{0}` is not an IPv6 address; expected one such as fd00::7, or [fd00::7]:443 with a port"
    )]
    Ipv6(String),
    /// An IPv6 address with a port, but without brackets.
    #[error("an IPv6 address with a port needs brackets: [{address}]:{port}")]
    NoBrackets {
        /// What seems to be the address.
        address: String,
        /// What seems to be the port.
        port: String,
    },
    /// An unmatched bracket, or something unexpected after it.
    #[error("expected an IPv6 address in brackets and a port, such as [fd00::7]:443")]
    Brackets,
    /// An interface after an IPv6 address.
    #[error(
        "an address cannot name an interface; omit `{0}`, and use --netns to restrict the trace"
    )]
    Zone(String),
    /// Not a port.
    #[error("`{0}` is not a port; expected a number from 1 to 65535, such as 10.244.3.17:443")]
    Port(String),
    /// Not a prefix length.
    #[error(
        "`{length}` is not a prefix length; expected a number from 0 to {longest}, such as {example}"
    )]
    Prefix {
        /// What stands after the slash.
        length: String,
        /// The longest prefix of this address family.
        longest: u8,
        /// A prefix of this family.
        example: &'static str,
    },
    /// Not a name that Kubernetes would give.
    #[error(
        "`{name}` is not a {what}: expected lowercase letters, digits and `-`, such as {example}"
    )]
    Name {
        /// The wrong name.
        name: String,
        /// What it should have been.
        what: &'static str,
        /// An endpoint that has one.
        example: &'static str,
    },
}
