//! A fault in whydrop itself, said in one line.
//!
//! The end is in order all the same: the probes go with what holds them, at the latest with the
//! process.

use std::{backtrace::Backtrace, env, panic, panic::PanicHookInfo};

use crate::sink;

/// From here on, a panic is one line. What it was about may be a secret, and is left out; with
/// `RUST_BACKTRACE`, it is followed by where it came from.
pub(super) fn install() {
    panic::set_hook(Box::new(|info| {
        sink::after_a_fault(&sentence(info));
        if env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            let backtrace = Backtrace::force_capture().to_string();
            sink::note_lines(&backtrace.lines().collect::<Vec<_>>());
        }
    }));
}

fn sentence(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(ToString::to_string);
    // A literal of the source is public; what was put together at run time may quote anything.
    let literal = info.payload().downcast_ref::<&'static str>();
    let why = literal.map(|text| format!(": {text}")).unwrap_or_default();
    format!(
        "a fault in whydrop {} at {}{why}; please report this line, with `uname -r` and what whydrop \
         was started with",
        env!("CARGO_PKG_VERSION"),
        place.as_deref().unwrap_or("an unknown place"),
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const MARK: &str = "WHYDROP_TEST_PANICS";

    /// Runs one of the tests below by itself, for its stderr.
    fn stderr_of(test: &str, backtrace: &str) -> String {
        let program = env::current_exe().unwrap();
        let output = Command::new(program)
            .args(["--exact", &format!("command::panic::tests::{test}")])
            .args(["--nocapture", "--test-threads=1"])
            .envs([(MARK, "1"), ("RUST_BACKTRACE", backtrace)])
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    fn is_asked_for() -> bool {
        env::var_os(MARK).is_some()
    }

    #[test]
    fn fails_over_a_secret() {
        if is_asked_for() {
            install();
            let password = "LEAKPASS".to_owned();
            panic!("no use for {password}");
        }
    }

    #[test]
    fn fails_with_a_literal() {
        if is_asked_for() {
            install();
            panic!("there is\nno \x1b[31mway");
        }
    }

    #[test]
    fn a_panic_is_one_line_without_what_it_was_about() {
        let stderr = stderr_of("fails_over_a_secret", "0");
        let lines: Vec<_> = stderr
            .lines()
            .filter(|line| line.starts_with("whydrop: "))
            .collect();
        let [line] = lines.as_slice() else {
            panic!("{stderr}");
        };
        assert!(line.contains(env!("CARGO_PKG_VERSION")), "{line}");
        assert!(line.contains("command/panic.rs:"), "{line}");
        assert!(line.contains("please report"), "{line}");
        assert!(!stderr.contains("LEAKPASS"), "{stderr}");
        let stderr = stderr_of("fails_over_a_secret", "1");
        assert!(stderr.contains("command::panic::"), "{stderr}");
    }

    #[test]
    fn a_literal_is_shown_and_commands_nothing() {
        let stderr = stderr_of("fails_with_a_literal", "0");
        let line = stderr.lines().find(|line| line.starts_with("whydrop: "));
        assert!(
            line.is_some_and(|line| line.contains("there is")),
            "{stderr}"
        );
        assert!(!stderr.contains('\x1b'), "{stderr:?}");
    }
}
