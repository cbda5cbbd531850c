//! Whose an address was, and when.
//!
//! Pods die and their addresses are given to others within seconds. A packet is named by who had
//! its address when it was dropped, not by who has it when the record is shown.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::objects::{ObjectName, Pod};

/// How long it is remembered who has had an address.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// How many former holders of one address are remembered.
const FORMER: usize = 8;

/// Who had an address, and when.
#[derive(Debug, Clone)]
struct Tenure {
    pod: Arc<Pod>,
    /// When it could have had it at the earliest.
    from: SystemTime,
    /// When a source reported it.
    learned: SystemTime,
    /// When a source reported its end.
    until: Option<SystemTime>,
}

/// Who had an address at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    /// This pod.
    Pod(Arc<Pod>),
    /// No pod any more: it was this one's, until then.
    Former(Arc<Pod>, SystemTime),
}

/// The addresses of pods with a network namespace of their own, and who had them.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    tenures: BTreeMap<IpAddr, Vec<Tenure>>,
    /// Which addresses a pod has now.
    held: HashMap<ObjectName, Vec<IpAddr>>,
}

impl History {
    /// Remembers that a pod is as it is now. Reported at `now`.
    pub(crate) fn put(&mut self, pod: &Pod, now: SystemTime) {
        let holds = !pod.host_network && !pod.ended;
        let ips: Vec<IpAddr> = if holds { pod.ips.clone() } else { Vec::new() };
        let kept: HashSet<IpAddr> = ips.iter().copied().collect();
        let before = self.held.remove(&pod.id).unwrap_or_default();
        for ip in before.iter().filter(|ip| !kept.contains(ip)) {
            self.end(*ip, &pod.id, now);
        }
        if ips.is_empty() {
            return;
        }
        let shared = Arc::new(pod.clone());
        for ip in &ips {
            self.begin(*ip, &shared, now);
        }
        self.held.insert(pod.id.clone(), ips);
    }

    /// Remembers that a pod is gone. Reported at `now`.
    pub(crate) fn remove(&mut self, id: &ObjectName, now: SystemTime) {
        for ip in self.held.remove(id).unwrap_or_default() {
            self.end(ip, id, now);
        }
    }

    fn begin(&mut self, ip: IpAddr, pod: &Arc<Pod>, now: SystemTime) {
        let tenures = self.tenures.entry(ip).or_default();
        let current = tenures
            .iter_mut()
            .find(|tenure| tenure.until.is_none() && tenure.pod.id == pod.id);
        if let Some(tenure) = current {
            if tenure.pod.uid == pod.uid {
                tenure.pod = Arc::clone(pod);
                return;
            }
            // A namesake in its place: a StatefulSet's pod, say.
            tenure.until = Some(now);
        }
        let created = pod.created.and_then(|seconds| {
            let since_epoch = Duration::from_secs(u64::try_from(seconds).ok()?);
            SystemTime::UNIX_EPOCH.checked_add(since_epoch)
        });
        tenures.push(Tenure {
            pod: Arc::clone(pod),
            from: created.unwrap_or(now).min(now),
            learned: now,
            until: None,
        });
        tenures.retain(|tenure| {
            let recent =
                |until: SystemTime| now.duration_since(until).is_ok_and(|age| age <= REMEMBERED);
            tenure.until.is_none_or(recent)
        });
        let ended = tenures.iter().filter(|t| t.until.is_some()).count();
        if ended > FORMER
            && let Some(oldest) = tenures.iter().position(|t| t.until.is_some())
        {
            tenures.remove(oldest);
        }
    }

    fn end(&mut self, ip: IpAddr, id: &ObjectName, now: SystemTime) {
        let open = self.tenures.get_mut(&ip).into_iter().flatten();
        for tenure in open.filter(|tenure| tenure.until.is_none() && tenure.pod.id == *id) {
            tenure.until = Some(now);
        }
    }

    /// The pod that had an address last, before the one that had it then, and until when.
    #[must_use]
    pub(crate) fn predecessor(
        &self,
        ip: IpAddr,
        then: SystemTime,
    ) -> Option<(Arc<Pod>, SystemTime)> {
        let ended = self.tenures.get(&ip)?.iter().filter_map(|tenure| {
            let until = tenure.until.filter(|until| *until < then)?;
            Some((Arc::clone(&tenure.pod), until))
        });
        ended.max_by_key(|(_, until)| *until)
    }

    /// Who had an address then; `None` if no pod is known to have had it.
    #[must_use]
    pub(crate) fn holder(&self, ip: IpAddr, then: SystemTime) -> Option<Holder> {
        let tenures = self.tenures.get(&ip)?;
        let not_over = |tenure: &&Tenure| tenure.until.is_none_or(|until| then <= until);
        // A pod that is being deleted releases the address before another can have it.
        let newest = |tenure: &&Tenure| (!tenure.pod.deleted, tenure.pod.created, tenure.learned);
        let known_then = tenures
            .iter()
            .filter(not_over)
            .filter(|tenure| tenure.learned <= then)
            .max_by_key(newest);
        // No pod was known then, but one that was reported later may have had it.
        let learned_later = || {
            tenures
                .iter()
                .filter(not_over)
                .filter(|tenure| tenure.from <= then)
                .max_by_key(newest)
        };
        if let Some(tenure) = known_then.or_else(learned_later) {
            return Some(Holder::Pod(Arc::clone(&tenure.pod)));
        }
        let former = tenures
            .iter()
            .filter_map(|tenure| Some((tenure.until.filter(|until| *until < then)?, tenure)));
        former
            .max_by_key(|(until, _)| *until)
            .map(|(until, tenure)| Holder::Former(Arc::clone(&tenure.pod), until))
    }
}

#[cfg(test)]
mod tests;
