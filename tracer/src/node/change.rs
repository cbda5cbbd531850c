//! Changes of settings, each with the one that takes it back. Nothing here makes them.

use crate::model::{Fix, shell::Command};

/// Another value for a setting in `/proc/sys`, whose path is given from there on.
pub(crate) fn sysctl(path: &str, before: u64, after: u64) -> Fix {
    let set = |value| Command::new("sysctl -w").arg(format!("{}={value}", key(path)));
    Fix::change(set(after), set(before))
}

/// Another MTU for an interface, in bytes.
pub(crate) fn mtu(ifname: &str, before: u32, after: u32) -> Fix {
    let set = |value: u32| {
        Command::new("ip link set dev")
            .arg(ifname)
            .words("mtu")
            .arg(value)
    };
    Fix::change(set(after), set(before))
}

/// What sysctl(8) calls a path. A name with a dot in it, as of a VLAN, needs the slashes.
fn key(path: &str) -> String {
    if path.contains('.') {
        path.to_owned()
    } else {
        path.replace('/', ".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_set_and_restored() {
        let fix = sysctl("net/ipv4/conf/eth0/rp_filter", 1, 2);
        assert_eq!(fix.line(), "sysctl -w net.ipv4.conf.eth0.rp_filter=2");
        let undo = fix.undo_line();
        assert_eq!(
            undo.as_deref(),
            Some("sysctl -w net.ipv4.conf.eth0.rp_filter=1")
        );
        let fix = sysctl("net/ipv4/conf/eth0.7/rp_filter", 1, 2);
        assert_eq!(fix.line(), "sysctl -w net/ipv4/conf/eth0.7/rp_filter=2");
    }

    #[test]
    fn a_hostile_name_stays_one_word() {
        let fix = mtu("a;b'c", 1500, 1450);
        assert_eq!(fix.line(), r"ip link set dev 'a;b'\''c' mtu 1450");
    }
}
