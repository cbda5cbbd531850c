//! iptables and nftables on what a bridge forwards (`bridge-nf-call-iptables`).

use super::{At, Frame, Walk};
use crate::{
    model::Hook,
    net::RouteKind,
    node::{
        route::Refusal,
        way::{AtHook, End},
        world::LinkId,
    },
};

impl Walk<'_> {
    /// Whether IP packets that a bridge forwards meet the hooks of IP.
    pub(super) fn calls_iptables(&self, id: LinkId) -> Result<bool, Box<End>> {
        let link = self.link(id)?;
        let settings = self.world.namespace(id.netns);
        let Some(settings) = settings.and_then(|namespace| namespace.settings) else {
            let want = "the settings of the bridge's namespace were not read";
            return Err(self.undecided(want.to_owned()));
        };
        let bridge = link.bridge().copied().unwrap_or_default();
        let is_ipv4 = self.packet.flow.dst.is_ipv4();
        let all = settings.bridges_call_iptables(is_ipv4);
        let own = bridge.calls_iptables(is_ipv4);
        // Without the setting, the module is not loaded.
        Ok(all.is_some_and(|all| all != 0 || own))
    }

    /// `PREROUTING`, before the bridge looks at the MAC address. Translated, the packet gets another
    /// one: that of its new next hop by this bridge, or else the bridge's own.
    pub(super) fn bridge_prerouting(
        &mut self,
        frame: &mut Frame,
        bridge: LinkId,
        port: LinkId,
    ) -> Result<Option<At>, Box<End>> {
        let link = self.link(bridge)?;
        let before = self.packet.flow.dst;
        self.hook_at(&AtHook {
            netns: bridge.netns,
            hook: Hook::Prerouting,
            input: Some(link.name.clone()),
            output: None,
            ports: Some((Some(self.link(port)?.name.clone()), None)),
        })?;
        if self.packet.flow.dst == before {
            return Ok(None);
        }
        let lookup = self.route(self.packet.route_key(Some(bridge.ifindex)))?;
        let lookup = match lookup.answer {
            // Where nothing is forwarded, the bridge goes by its own route.
            Err(Refusal::NotForwarding) => self.route(self.packet.route_key(None))?,
            _ => lookup,
        };
        let route = match &lookup.answer {
            Ok(route) => route,
            Err(refusal) => {
                let because = self.unrouted(*refusal, &lookup);
                return Err(self.dropped(Some(port), because));
            }
        };
        if route.kind == RouteKind::Unicast && route.output == Some(bridge.ifindex) {
            frame.hop = route.gateway.unwrap_or(self.packet.flow.dst);
            frame.mac = self.resolve(link, frame.hop)?;
            return Ok(None);
        }
        Ok(Some(At::Input {
            link: bridge,
            prerouted: true,
        }))
    }

    /// `FORWARD` and `POSTROUTING`, from one port to another.
    pub(super) fn bridge_forward(
        &mut self,
        bridge: LinkId,
        from: LinkId,
        to: LinkId,
    ) -> Result<(), Box<End>> {
        let name = self.link(bridge)?.name.clone();
        let from = self.link(from)?.name.clone();
        let to = self.link(to)?.name.clone();
        for (hook, input) in [
            (Hook::Forward, Some(name.clone())),
            (Hook::Postrouting, None),
        ] {
            self.hook_at(&AtHook {
                netns: bridge.netns,
                hook,
                input,
                output: Some(name.clone()),
                ports: Some((Some(from.clone()), Some(to.clone()))),
            })?;
        }
        Ok(())
    }
}
