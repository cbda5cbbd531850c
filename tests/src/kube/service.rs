//! Services: their objects, and what kube-proxy makes of those without endpoints.

use std::net::IpAddr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::lab::Namespace;

/// A Service `namespace/name` with TCP port 80 at an address, for pods with a label `app`; and its
/// EndpointSlice, with the endpoints that take connections and their port.
pub fn service(id: &str, app: &str, ip: IpAddr, (endpoints, port): (&[IpAddr], u16)) -> [Value; 2] {
    let (namespace, name) = id.split_once('/').expect("namespace/name");
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|ip| json!({"addresses": [ip.to_string()]}))
        .collect();
    [
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {
                "clusterIP": ip.to_string(),
                "selector": {"app": app},
                "ports": [{"port": 80, "protocol": "TCP"}],
            },
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": namespace, "name": format!("{name}-x"),
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "port": port, "protocol": "TCP"}],
            "endpoints": endpoints,
        }),
    ]
}

/// Makes a node refuse connections to a Service without endpoints, at port 80 of an IPv4 address, by
/// rules shaped like kube-proxy's and in place of those that iptables had there.
///
/// # Errors
///
/// The rules cannot be loaded.
pub fn refuse_service(node: &Namespace, id: &str, ip: IpAddr) -> Result<()> {
    let rules = format!(
        "*filter\n:KUBE-SERVICES - [0:0]\n\
         -A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" \
         -j KUBE-SERVICES\n\
         -A KUBE-SERVICES -d {ip}/32 -p tcp -m comment --comment \"{id} has no endpoints\" -m tcp \
         --dport 80 -j REJECT --reject-with icmp-port-unreachable\nCOMMIT\n"
    );
    node.run_with_input("iptables-nft-restore", &rules)
        .map(drop)
}
