//! The resolver's configuration (resolv.conf(5)), and the names that it asks for.

use std::net::IpAddr;

/// What the C library reads from resolv.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolver {
    pub(crate) nameservers: Vec<IpAddr>,
    /// Domains that are appended to short names, in order.
    pub(crate) search: Vec<String>,
    /// A name with this many dots is tried as it is first.
    pub(crate) ndots: usize,
    /// Where it was read, in words.
    pub(crate) origin: String,
}

/// What the C library takes at most (`MAXNS`).
const MOST_NAMESERVERS: usize = 3;
/// More domains than any cluster has, and what a hostile pod may make us ask.
const MOST_DOMAINS: usize = 16;
/// `RES_MAXNDOTS`.
const MOST_DOTS: usize = 15;

impl Resolver {
    /// Reads the text of a resolv.conf; whatever is not understood is left out, as the C library does.
    pub(crate) fn parse(text: &str, origin: impl Into<String>) -> Self {
        let mut resolver = Self {
            nameservers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            origin: origin.into(),
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    let room = MOST_NAMESERVERS.saturating_sub(resolver.nameservers.len());
                    resolver.nameservers.extend(server.into_iter().take(room));
                }
                // The last of these lines counts.
                Some("search") => {
                    let domains = words.filter_map(name).take(MOST_DOMAINS);
                    resolver.search = domains.collect();
                }
                Some("domain") => {
                    resolver.search = words.take(1).filter_map(name).collect();
                }
                Some("options") => {
                    let mut dots = words.filter_map(|word| word.strip_prefix("ndots:"));
                    if let Some(dots) = dots.next_back().and_then(|dots| dots.parse().ok()) {
                        resolver.ndots = MOST_DOTS.min(dots);
                    }
                }
                _ => {}
            }
        }
        resolver
    }

    /// The names that are asked for one after the other until one exists, each with its final dot.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        let absolute = name.strip_suffix('.');
        let bare = absolute.unwrap_or(name);
        let as_it_is = format!("{bare}.");
        if absolute.is_some() {
            return vec![as_it_is];
        }
        let searched = self.search.iter().map(|domain| format!("{bare}.{domain}."));
        let mut all: Vec<String> = searched.collect();
        match bare.matches('.').count() >= self.ndots {
            true => all.insert(0, as_it_is),
            false => all.push(as_it_is),
        }
        all.retain(|name| is_name(name));
        all
    }

    /// The domain of the cluster, by a search list as the kubelet writes it.
    pub(crate) fn cluster_domain(&self) -> Option<&str> {
        self.search
            .iter()
            .find_map(|domain| domain.strip_prefix("svc."))
    }
}

fn name(word: &str) -> Option<String> {
    let word = word.strip_suffix('.').unwrap_or(word);
    is_name(word).then(|| word.to_ascii_lowercase())
}

/// Whether it is a name that DNS can hold, and that is safe to print.
pub(crate) fn is_name(name: &str) -> bool {
    let bare = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    bare.len() <= 253 && bare.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
                       nameserver 10.96.0.10\noptions ndots:5\n";

    #[test]
    fn the_kubelets_file_is_read() {
        let resolver = Resolver::parse(POD, "here");
        assert_eq!(resolver.nameservers, [IpAddr::from([10, 96, 0, 10])]);
        assert_eq!(resolver.ndots, 5);
        assert_eq!(resolver.cluster_domain(), Some("cluster.local"));
    }

    #[test]
    fn a_name_with_few_dots_takes_the_whole_search_list_first() {
        let resolver = Resolver::parse(POD, "here");
        assert_eq!(
            resolver.candidates("api.example.com"),
            [
                "api.example.com.shop.svc.cluster.local.",
                "api.example.com.svc.cluster.local.",
                "api.example.com.cluster.local.",
                "api.example.com."
            ]
        );
        assert_eq!(
            resolver.candidates("api.example.com."),
            ["api.example.com."]
        );
        let plain = Resolver::parse("nameserver ::1\nsearch a", "here");
        assert_eq!(plain.candidates("b.c"), ["b.c.", "b.c.a."]);
    }

    #[test]
    fn what_is_hostile_or_too_much_is_left_out() {
        let text = "nameserver 1.1.1.1\nnameserver x\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n\
                    nameserver 1.1.1.4\nsearch a\u{1b}[31m ok # b\noptions ndots:99";
        let resolver = Resolver::parse(text, "here");
        assert_eq!(resolver.nameservers.len(), MOST_NAMESERVERS);
        assert_eq!(resolver.search, ["ok"]);
        assert_eq!(resolver.ndots, MOST_DOTS);
        assert!(!is_name("a..b") && !is_name("") && !is_name(&"a".repeat(64)));
    }
}
