//! Kernel lockdown (kernel_lockdown(7)), as far as it keeps programs from loading.

use std::fs;

use super::{Finding, State};

/// Where securityfs shows the mode; the second in a container that shares the node's process namespace.
const FILES: [&str; 2] = [
    "/sys/kernel/security/lockdown",
    "/proc/1/root/sys/kernel/security/lockdown",
];
/// The mode that refuses every program which reads kernel memory (`bpf_probe_read_kernel`, in
/// `bpf_base_func_proto` of kernel/bpf/helpers.c).
const CONFIDENTIALITY: &str = "confidentiality";

/// Looks for it. Nothing is found where the kernel has no lockdown, or where securityfs is not mounted and
/// the command line does not speak of it.
pub(super) fn look() -> Option<Finding> {
    let shown = FILES.iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        mode(&text).map(str::to_owned)
    });
    let asked_for = || {
        let line = fs::read_to_string("/proc/cmdline").ok()?;
        by_command_line(&line).map(str::to_owned)
    };
    shown.or_else(asked_for).map(|mode| finding(&mode))
}

/// The mode in brackets: `none [integrity] confidentiality`.
fn mode(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode)
}

/// The last `lockdown=` of the kernel's command line.
fn by_command_line(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().rev();
    words.find_map(|word| word.strip_prefix("lockdown="))
}

fn finding(mode: &str) -> Finding {
    let refuses = mode == CONFIDENTIALITY;
    Finding {
        name: "lockdown".to_owned(),
        state: if refuses {
            State::Required
        } else {
            State::Present
        },
        found: match refuses {
            true => CONFIDENTIALITY.to_owned(),
            false => format!("{mode}: programs may read kernel memory"),
        },
        cost: "in this mode, the kernel refuses all programs that read its memory: no probe can be \
               loaded",
        fix: "boot this node with lockdown=integrity on the kernel's command line (Talos may set \
              lockdown=confidentiality); `whydrop explain` and `whydrop join` need no probes",
        hides: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_the_one_in_brackets() {
        assert_eq!(
            mode("none [integrity] confidentiality\n"),
            Some("integrity")
        );
        assert_eq!(
            mode("none integrity [confidentiality]\n"),
            Some("confidentiality")
        );
        assert_eq!(mode(""), None);
        assert_eq!(mode("["), None);
    }

    #[test]
    fn the_last_word_of_the_command_line_counts() {
        let line = "quiet lockdown=confidentiality lockdown=integrity root=/dev/sda";
        assert_eq!(by_command_line(line), Some("integrity"));
        assert_eq!(by_command_line("quiet"), None);
    }

    #[test]
    fn only_confidentiality_stops_a_trace() {
        assert_eq!(finding("confidentiality").state, State::Required);
        assert_eq!(finding("integrity").state, State::Present);
        assert_eq!(finding("none").state, State::Present);
    }
}
