//! The commands with which a person asks what the probe asks.

use std::net::{IpAddr, SocketAddr};

use super::{DNS, HttpPlan};
use crate::{cluster::source::ClusterConfig, model::shell::Command};

/// Connects.
pub(crate) fn connect(host: &str, port: u16) -> Command {
    Command::new("nc -zv -w 3").arg(host).arg(port)
}

/// Connects to an address.
pub(crate) fn connect_to(to: SocketAddr) -> Command {
    connect(&to.ip().to_string(), to.port())
}

/// Asks a server for the addresses of a name.
pub(crate) fn dig(server: SocketAddr, name: &str, is_aaaa: bool, by_tcp: bool) -> Command {
    let mut command = Command::new("dig");
    if by_tcp {
        command = command.arg("+tcp");
    }
    command = command.arg(format!("@{}", server.ip()));
    if server.port() != DNS {
        command = command.arg("-p").arg(server.port());
    }
    let kind = if is_aaaa { "AAAA" } else { "A" };
    command.arg(name).arg(kind)
}

/// Begins TLS.
pub(crate) fn hello(at: &str, name: Option<&str>) -> Command {
    let command = Command::new("openssl s_client -connect").arg(at);
    let command = match name {
        Some(name) => command.arg("-servername").arg(name),
        None => command.arg("-noservername"),
    };
    command.words("-alpn h2,http/1.1")
}

/// Sends echo requests of this packet size.
pub(crate) fn ping(host: &str, size: u32, is_v6: bool) -> Command {
    let headers = if is_v6 { 48 } else { 28 };
    Command::new("ping -M do -c 3 -s")
        .arg(size.saturating_sub(headers))
        .arg(host)
}

/// Sends echo requests of this packet size to an address.
pub(crate) fn ping_to(dst: IpAddr, size: u32) -> Command {
    ping(&dst.to_string(), size, dst.is_ipv6())
}

/// Sends TCP packets of this size.
pub(crate) fn segment(host: &str, port: u16, size: u32, is_v6: bool) -> Command {
    let headers = if is_v6 { 60 } else { 40 };
    let command = match is_v6 {
        true => Command::new("nping -6 --tcp"),
        false => Command::new("nping --tcp --df"),
    };
    let command = command.words("-c 3 -p").arg(port).arg("--data-length");
    command.arg(size.saturating_sub(headers)).arg(host)
}

/// Sends TCP packets of this size to an address.
pub(crate) fn segment_to(to: SocketAddr, size: u32) -> Command {
    segment(&to.ip().to_string(), to.port(), size, to.is_ipv6())
}

/// Evaluates the NetworkPolicies with the objects of files, or else those of an API server: `explain` takes
/// one of the two.
pub(crate) fn explain(cluster: &ClusterConfig) -> Command {
    let command = Command::new("whydrop explain");
    match (cluster.files.as_slice(), &cluster.kubeconfig) {
        ([], Some(path)) => command.arg("--kubeconfig").arg(path.display()),
        (files, _) => files.iter().fold(command, |command, file| {
            command.arg("--cluster").arg(file.display())
        }),
    }
}

impl HttpPlan {
    /// Sends the request, to this address if there is one.
    pub(crate) fn command(&self, to: Option<SocketAddr>, target: &str) -> Command {
        let scheme = if self.tls { "https" } else { "http" };
        let command = Command::new("curl -skv -m 5");
        let Some(to) = to else {
            return command.arg(format!("{scheme}://{target}{}", self.path));
        };
        // As the host of the URL, the name is in the ClientHello, too.
        match self.host.parse::<IpAddr>().is_err() && !self.host.starts_with('[') {
            true => {
                let (host, port) = (&self.host, to.port());
                let at = match to.ip() {
                    IpAddr::V4(ip) => ip.to_string(),
                    IpAddr::V6(ip) => format!("[{ip}]"),
                };
                command
                    .arg("--resolve")
                    .arg(format!("{host}:{port}:{at}"))
                    .arg(format!("{scheme}://{host}:{port}{}", self.path))
            }
            false => command.arg(format!("{scheme}://{to}{}", self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_asks_what_the_probe_asks() {
        let server: SocketAddr = "10.96.0.10:53".parse().unwrap();
        let replica: SocketAddr = "[fd00::7]:1053".parse().unwrap();
        let both = ClusterConfig {
            files: vec!["a.json".into(), "b.json".into()],
            kubeconfig: Some("k".into()),
            ..ClusterConfig::default()
        };
        let by_api = ClusterConfig {
            kubeconfig: Some("k".into()),
            ..ClusterConfig::default()
        };
        let http = HttpPlan {
            path: "/a?b&c".to_owned(),
            host: "cart.example.com".to_owned(),
            tls: true,
        };
        let by_address = HttpPlan {
            path: "/".to_owned(),
            host: "10.0.0.1".to_owned(),
            tls: false,
        };
        let to: SocketAddr = "10.0.0.1:8443".parse().unwrap();
        for (command, text) in [
            (
                dig(server, "cart.", false, false),
                "dig @10.96.0.10 cart. A",
            ),
            (
                dig(replica, "cart.", true, true),
                "dig +tcp @fd00::7 -p 1053 cart. AAAA",
            ),
            (
                explain(&both),
                "whydrop explain --cluster a.json --cluster b.json",
            ),
            (explain(&by_api), "whydrop explain --kubeconfig k"),
            (connect_to(to), "nc -zv -w 3 10.0.0.1 8443"),
            (ping_to(to.ip(), 1500), "ping -M do -c 3 -s 1472 10.0.0.1"),
            (
                segment_to(to, 1500),
                "nping --tcp --df -c 3 -p 8443 --data-length 1460 10.0.0.1",
            ),
            (
                http.command(Some(to), "x"),
                "curl -skv -m 5 --resolve cart.example.com:8443:10.0.0.1 \
                 'https://cart.example.com:8443/a?b&c'",
            ),
            (
                by_address.command(Some(to), "x"),
                "curl -skv -m 5 http://10.0.0.1:8443/",
            ),
        ] {
            assert_eq!(command.to_string(), text);
        }
    }
}
