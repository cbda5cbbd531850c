//! A Service's address: policies see what stands behind it.

use crate::{
    cluster::{
        objects::Service,
        view::{Kind, View},
    },
    policy::{Flow, Peer},
};

/// The flow, once to each endpoint that may answer; as it is where these are not known.
pub(super) fn behind<'v>(
    view: &'v View,
    service: &Service,
    flow: &Flow<'v>,
    warnings: &mut Vec<String>,
) -> Vec<Flow<'v>> {
    let same = || vec![flow.clone()];
    if !view.knows(Kind::EndpointSlice) {
        return same();
    }
    let port = service
        .ports
        .iter()
        .find(|port| port.protocol == flow.protocol && Some(port.port) == flow.port);
    let Some(port) = port else {
        if let Some(number) = flow.port {
            let protocol = flow.protocol;
            warnings.push(format!(
                "Service {} has no port {protocol} {number}",
                service.id
            ));
        }
        return same();
    };
    let wants_ipv6 = flow.dst.address.is_some_and(|address| address.is_ipv6());
    let mut found = Vec::new();
    let mut names = Vec::new();
    for slice in view.slices_of(&service.id) {
        let target = slice
            .ports
            .iter()
            .find(|target| target.name == port.name && target.protocol == port.protocol);
        let Some(target) = target else { continue };
        for address in slice
            .ready()
            .map(|backend| backend.ip)
            .filter(|address| address.is_ipv6() == wants_ipv6)
        {
            let dst = Peer::at(view, address);
            names.push(format!("{dst} port {}", target.port));
            found.push(Flow {
                dst,
                port: Some(target.port),
                ..flow.clone()
            });
        }
    }
    if found.is_empty() {
        let selector: Vec<_> = service
            .selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        warnings.push(format!(
            "Service {} has no ready endpoint (selector {}): nobody answers, whatever the \
             policies say",
            service.id,
            selector.join(",")
        ));
        return same();
    }
    names.sort();
    names.dedup();
    warnings.push(format!(
        "policies see what stands behind Service {}, so that is judged: {}",
        service.id,
        names.join(", ")
    ));
    found
}
