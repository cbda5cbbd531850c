//! Numbers and namespaces in sentences.

/// `1 event`, `2 events`: a number and its noun, which forms its plural with an s.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

/// `1 query`, `2 queries`: a number of things that are at hand, and both forms of their noun.
pub(crate) fn counted(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// A network namespace by the name that the node's model has for it.
pub(crate) fn namespace(name: &str) -> String {
    match name {
        HOST => "the host's network namespace".to_owned(),
        name => format!("network namespace {name}"),
    }
}

/// The name of the host's own network namespace.
pub(crate) const HOST: &str = "host";

/// `once`, `2 times`.
pub(crate) fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        _ => format!("{number} times"),
    }
}

/// `after 12 ms`, `in under 1 ms`: a time that was counted in whole milliseconds.
pub(crate) fn after_ms(milliseconds: u64) -> String {
    match milliseconds {
        0 => "in under 1 ms".to_owned(),
        more => format!("after {more} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_several() {
        let counted = [0, 1, 2].map(|number| count(number, "event"));
        assert_eq!(counted, ["0 events", "1 event", "2 events"]);
        assert_eq!([1, 3].map(times), ["once", "3 times"]);
        assert_eq!([0, 7].map(after_ms), ["in under 1 ms", "after 7 ms"]);
    }
}
