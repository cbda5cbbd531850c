//! Where the stories play.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Result;
use serde_json::json;
use tempfile::TempDir;
use whydrop_tests::{
    kube::{Objects, Pod, service},
    lab::{
        Family, Host, Lab, Namespace, Topology,
        topology::{NodeLab, OverlayLab, Underlay},
    },
};

/// What the node is called.
pub(crate) const NODE: &str = "n1";

/// Two labs, and the objects of a cluster around the first one.
pub(crate) struct Stage {
    /// A node with the pods `shop/web` and `shop/cart`, and a host outside.
    pub(crate) node: NodeLab,
    /// The pod `shop/pay` on that node.
    pub(crate) pay: Host,
    /// The address of the Service `shop/cart`, whose selector matches no pod.
    pub(crate) cart: IpAddr,
    /// Those pods, the Service, and a NetworkPolicy that lets `app=web` reach `app=pay`.
    pub(crate) objects: Objects,
    /// Two nodes with VXLAN between them.
    pub(crate) overlay: OverlayLab,
    directory: TempDir,
}

impl Stage {
    /// Builds them.
    pub(crate) fn build() -> Result<Self> {
        let lab = Lab::new()?;
        let node = NodeLab::build_in(&lab)?;
        let pay = node.routed_pod(&lab, "veth-c")?;
        let cart = lab.plan().address(Family::V4, 96, 25);
        let pod = |id, labels, host: &Host| Pod::new(id, labels, host.address(Family::V4), NODE);
        let objects = Objects {
            pods: vec![
                pod("shop/web", "app=web", &node.pod_a),
                pod("shop/cart", "app=cart", &node.pod_b),
                pod("shop/pay", "app=pay", &pay),
            ],
            policies: vec![json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": {"namespace": "shop", "name": "pay-from-web"},
                "spec": {
                    "podSelector": {"matchLabels": {"app": "pay"}},
                    "policyTypes": ["Ingress"],
                    "ingress": [{
                        "from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
                        "ports": [{"protocol": "TCP", "port": 8004}],
                    }],
                },
            })],
            others: service("shop/cart", "carts", cart, (&[], 8080)).into(),
        };
        Ok(Self {
            node,
            pay,
            cart,
            objects,
            overlay: OverlayLab::build_in(&Lab::new()?, Underlay::Direct)?,
            directory: tempfile::tempdir()?,
        })
    }

    /// Every namespace in them.
    pub(crate) fn namespaces(&self) -> Vec<&Namespace> {
        let mut all = self.node.namespaces();
        all.push(&self.pay);
        all.extend(self.overlay.namespaces());
        all
    }

    /// The cluster's objects, as kubectl writes them, in a file that goes with the stage.
    pub(crate) fn cluster(&self) -> Result<PathBuf> {
        self.objects.write(self.directory.path(), "cluster.json")
    }
}
