//! A command that changes something, and the one that takes it back.

/// A proposed change. Both commands are for the network namespace that was read, and whydrop runs
/// neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Makes the change.
    pub apply: String,
    /// Restores what was there.
    pub undo: String,
}

impl Change {
    /// Another value for a setting in `/proc/sys`, whose path is given from there on.
    pub(super) fn sysctl(path: &str, before: u64, after: u64) -> Self {
        let set = |value| format!("sysctl -w {}={value}", key(path));
        Self {
            apply: set(after),
            undo: set(before),
        }
    }

    /// Another MTU for an interface, in bytes.
    pub(crate) fn mtu(ifname: &str, before: u32, after: u32) -> Self {
        let set = |value| format!("ip link set dev {} mtu {value}", quoted(ifname));
        Self {
            apply: set(after),
            undo: set(before),
        }
    }
}

/// What sysctl(8) calls a path. A name with a dot in it, as of a VLAN, needs the slashes.
fn key(path: &str) -> String {
    if path.contains('.') {
        quoted(path)
    } else {
        quoted(&path.replace('/', "."))
    }
}

/// As one word for a shell: an interface may have nearly any name.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:@/".contains(&byte);
    if word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_set_and_restored() {
        let change = Change::sysctl("net/ipv4/conf/eth0/rp_filter", 1, 2);
        assert_eq!(change.apply, "sysctl -w net.ipv4.conf.eth0.rp_filter=2");
        assert_eq!(change.undo, "sysctl -w net.ipv4.conf.eth0.rp_filter=1");
        let change = Change::sysctl("net/ipv4/conf/eth0.7/rp_filter", 1, 2);
        assert_eq!(change.apply, "sysctl -w net/ipv4/conf/eth0.7/rp_filter=2");
    }

    #[test]
    fn a_hostile_name_stays_one_word() {
        let change = Change::mtu("a;b'c", 1500, 1450);
        assert_eq!(change.apply, r"ip link set dev 'a;b'\''c' mtu 1450");
    }
}
