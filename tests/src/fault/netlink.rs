//! Messages to the kernel's netfilter (nfnetlink).

/// One message: `struct nlmsghdr`, `struct nfgenmsg` with its resource, attributes.
pub(super) fn message(
    kind: u16,
    flags: u16,
    family: u8,
    resource: u16,
    attributes: &[u8],
) -> Vec<u8> {
    let len = 20 + attributes.len() as u32;
    let mut message = Vec::with_capacity(len as usize);
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([family, 0]);
    message.extend(resource.to_be_bytes());
    message.extend(attributes);
    message
}

/// An attribute that holds others.
pub(crate) fn nested(kind: u16, inside: &[u8]) -> Vec<u8> {
    attribute(kind | libc::NLA_F_NESTED as u16, inside)
}

/// An attribute, with its length before it and filled up to four bytes.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = 4 + value.len() as u16;
    let mut attribute = Vec::with_capacity(value.len() + 7);
    attribute.extend(len.to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}
