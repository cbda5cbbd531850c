//! A probe for a ticket: symptom, table, verdict, what was not asked, versions. As in joined traces,
//! all text from outside stands in code blocks.

use super::{markdown::fenced, text::Text};
use crate::model::{LayerReport, LayerResult, PlanReport, Report, Summary};

/// What a ticket is made of so far.
#[derive(Debug)]
pub(super) struct Ticket {
    route: String,
    kernel: Option<String>,
    /// The table, as text.
    table: String,
    layers: Vec<LayerReport>,
}

impl Ticket {
    /// Begins one.
    pub(super) fn new(plan: &PlanReport) -> Self {
        let from = plan.from.as_deref().unwrap_or("this node");
        Self {
            route: format!("{from} → {}", plan.to),
            kernel: None,
            table: String::new(),
            layers: Vec::new(),
        }
    }

    /// Its beginning: what is sent, before it is sent.
    pub(super) fn opening(text: &mut Text, plan: &Report) -> String {
        let sends = text.render(plan);
        format!("# whydrop probe\n\n## Sent\n\n{}\n", fenced(&sends))
    }

    /// Takes a report; the last one gives the rest of the ticket.
    pub(super) fn take(&mut self, text: &mut Text, report: &Report) -> String {
        match report {
            Report::Started(started) => self.kernel = Some(started.kernel.clone()),
            Report::Layer(layer) => self.layers.push(LayerReport::clone(layer)),
            _ => {}
        }
        let rendered = text.render(report);
        match report {
            Report::Summary(summary) => self.rest(summary, &rendered),
            _ => {
                self.table += &rendered;
                String::new()
            }
        }
    }

    fn rest(&self, summary: &Summary, verdict: &str) -> String {
        let of = |result| self.layers.iter().filter(move |one| one.result == result);
        let mut symptom = format!("{}\n", self.route);
        for layer in of(LayerResult::Failed) {
            let evidence = layer.evidence.as_deref().unwrap_or_default();
            symptom += &format!("{} fails: {evidence}\n", layer.layer.name());
        }
        if of(LayerResult::Failed).next().is_none() {
            symptom += "no layer fails\n";
        }
        let mut open = String::new();
        for layer in of(LayerResult::Skipped).chain(of(LayerResult::Blocked)) {
            let reason = layer.evidence.as_deref().unwrap_or_default();
            open += &format!("{}: {reason}\n", layer.layer.name());
        }
        let mut versions = format!("whydrop {}\n", env!("CARGO_PKG_VERSION"));
        if let Some(kernel) = &self.kernel {
            versions += &format!("Linux {kernel}\n");
        }
        if let Some(node) = &summary.node {
            versions += &format!("node {node}\n");
        }
        let sections = [
            ("Symptom", symptom.as_str()),
            ("Layers", self.table.trim_start_matches('\n')),
            (
                "Verdict, evidence and fix",
                verdict.trim_start_matches('\n'),
            ),
            ("Not asked", open.as_str()),
            ("Versions", versions.as_str()),
        ];
        let filled = sections.iter().filter(|(_, text)| !text.trim().is_empty());
        filled
            .map(|(title, text)| format!("## {title}\n\n{}\n", fenced(&super::text::safe(text))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Detail, Sink as _, Style, fixtures, markdown::Markdown};

    #[test]
    fn a_probe_as_a_ticket() {
        let mut markdown = Markdown::new(Style::plain(), Detail::default());
        let ticket: String = fixtures::probe()
            .iter()
            .map(|one| markdown.report(one).expect("text"))
            .collect();
        insta::assert_snapshot!(ticket, @"
        # whydrop probe

        ## Sent

        ```
        probe  shop/web → svc/shop/cart:443  sends from network namespace cni-5c2f8a5e:
            TCP at most 1 × tcp to 10.96.3.7:443
                $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.96.3.7 443
            MTU at most 64 × icmp to 10.244.3.17
                $ ip netns exec cni-5c2f8a5e ping -M do -c 3 -s 1472 10.244.3.17
            MTU at most 1 × tcp to 10.244.3.17:8443, with at most 64 segments of all sizes, where echo
                requests are not answered
                $ ip netns exec cni-5c2f8a5e nping --tcp --df -c 3 -p 8443 --data-length 1460 10.244.3.17
            TLS at most 3 × tcp to the first address that TCP reaches
                $ ip netns exec cni-5c2f8a5e openssl s_client -connect 10.96.3.7:443 -servername cart.shop.svc.cluster.local -alpn h2,http/1.1
            application nothing: not asked for; --http PATH asks
        ```

        ## Symptom

        ```
        shop/web → svc/shop/cart:443
        TCP fails: 1 of 2 endpoints answered directly
        ```

        ## Layers

        ```
        ! this kernel does not label drops of VXLAN, bridge and veth: their reason is NOT_SPECIFIED

        Layer        Result    Evidence                                                   Verdict
        DNS          skipped   no search domain
        TCP          ✗ failed  1 of 2 endpoints answered directly                         socket
                                                                                          (confirmed)
                     ✓ ok      svc/shop/cart: answered by 10.244.3.17:8443 after 0.4 ms,
                               through 4 interfaces
                     $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.96.3.7 443
                     ✗ failed  shop/cart-1: refused by 10.244.3.18 after 0.3 ms           socket
                                                                                          (confirmed)
                     $ ip netns exec cni-5c2f8a5e nc -zv -w 3 10.244.3.18 8443
        MTU          ✓ ok      1450 bytes, the MTU of eth0, pass to 10.244.3.17:8443 in
                               TCP segments, round trip 0.5 ms; echo requests are not
                               answered
                     $ ip netns exec cni-5c2f8a5e nping --tcp --df -c 3 -p 8443 --data-length 1410 10.244.3.17
        ```

        ## Verdict, evidence and fix

        ```
        socket (confirmed)  TCP
            why: no socket listens on 10.244.3.18:8443
            advice: start the server, or correct the port
        result: TCP fails
        ```

        ## Not asked

        ```
        DNS: no search domain
        ```

        ## Versions

        ```
        whydrop 0.1.0
        Linux 6.1.0-28-amd64
        node node-1
        ```
        ");
    }
}
