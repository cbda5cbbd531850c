//! Why a trace has seen nothing: the packets may pass namespaces that it does not watch.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use crate::{
    cli::{endpoint::Endpoint, options::TraceConfig},
    node::world::{Parts, World},
};

/// How long the node may take to answer; the user waits for the summary.
const LIMIT: Duration = Duration::from_millis(500);

/// Where on this node the addresses of the filter are, if not in a watched namespace: a sentence each.
pub(super) async fn elsewhere(config: &TraceConfig, watched: &BTreeSet<u32>) -> Vec<String> {
    let ends = config.to.iter().chain(&config.from);
    let addresses: BTreeSet<IpAddr> = ends.filter_map(address).collect();
    if addresses.is_empty() {
        return Vec::new();
    }
    let world = World::recent_async(Parts::new(), LIMIT).await;
    sentences(&world, &addresses, watched)
}

fn address(end: &Endpoint) -> Option<IpAddr> {
    match end {
        Endpoint::Net { net, .. } if net.prefix_len() == net.max_prefix_len() => Some(net.addr()),
        _ => None,
    }
}

fn sentences(world: &World, addresses: &BTreeSet<IpAddr>, watched: &BTreeSet<u32>) -> Vec<String> {
    let sentence = |address: &IpAddr| {
        let holders = world.holders(*address);
        if holders.iter().any(|holder| watched.contains(&holder.netns)) {
            return None;
        }
        let names: BTreeSet<_> = holders
            .iter()
            .filter_map(|holder| Some(world.namespace(holder.netns)?.name.to_string()))
            .collect();
        let names: Vec<_> = names.into_iter().collect();
        (!names.is_empty()).then(|| {
            format!(
                "{address} is in the network namespace {} of this node, whose interfaces this trace \
                 did not watch; --netns names the namespaces that its packets pass",
                names.join(" and ")
            )
        })
    };
    addresses.iter().filter_map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::world::{
        Kind,
        build::{Build, id},
    };

    #[test]
    fn an_address_in_an_unwatched_namespace_is_said_to_be_there() {
        let mut build = Build::new();
        build.link(id(7, 2), "eth0", Kind::Veth);
        build.address(id(7, 2), "10.77.2.2");
        let addresses = BTreeSet::from([IpAddr::from([10, 77, 2, 2])]);
        let said = |watched: u32| sentences(&build.world, &addresses, &BTreeSet::from([watched]));
        assert_eq!(said(7), Vec::<String>::new());
        let [sentence] = said(1).try_into().expect("one sentence");
        assert!(sentence.contains("--netns"), "{sentence}");
        let others = BTreeSet::from([IpAddr::from([10, 9, 9, 9])]);
        assert!(sentences(&build.world, &others, &BTreeSet::from([1])).is_empty());
    }
}
