//! The way of the program into a pod that takes it from its standard input, as far as the two that serve
//! the pod have to know: what writes to it, and what reads its log.

use tokio::sync::watch::{Sender, channel};

/// How far a pod has got.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// The program is on its way: the pod has nothing to say yet.
    OnItsWay,
    /// It runs, as its first record shows; or it was in the pod's image.
    Runs,
    /// It will not come. Why, in words.
    Failed(String),
}

/// The way of the program into a pod. Clones are of the same.
#[derive(Debug, Clone)]
pub(super) struct Upload(Sender<Stage>);

impl Upload {
    /// Nothing has to be streamed into the pod, or the program has yet to be.
    pub(super) fn new(is_streamed: bool) -> Self {
        let stage = match is_streamed {
            true => Stage::OnItsWay,
            false => Stage::Runs,
        };
        Self(channel(stage).0)
    }

    /// Whether silence of the pod means nothing.
    pub(super) fn is_on_its_way(&self) -> bool {
        *self.0.borrow() == Stage::OnItsWay
    }

    /// Why the program will not come, if so.
    pub(super) fn failure(&self) -> Option<String> {
        match &*self.0.borrow() {
            Stage::Failed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// Whether the program runs.
    pub(super) fn has_arrived(&self) -> bool {
        *self.0.borrow() == Stage::Runs
    }

    /// The program runs, unless it has failed to come.
    pub(super) fn arrives(&self) {
        self.0.send_if_modified(|stage| {
            let changes = *stage == Stage::OnItsWay;
            if changes {
                *stage = Stage::Runs;
            }
            changes
        });
    }

    /// The program will not come, unless it is there already. Returns whether that is so.
    pub(super) fn fail(&self, why: &str) -> bool {
        self.0.send_if_modified(|stage| {
            let changes = *stage == Stage::OnItsWay;
            if changes {
                *stage = Stage::Failed(why.to_owned());
            }
            changes
        })
    }

    /// Returns once it is decided whether it comes. Can be cancelled.
    pub(super) async fn decided(&self) {
        let mut changes = self.0.subscribe();
        // The sender is here.
        let _ = changes.wait_for(|stage| *stage != Stage::OnItsWay).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_does_not_fail_and_what_has_failed_does_not_arrive() {
        let upload = Upload::new(true);
        assert!(upload.is_on_its_way());
        upload.arrives();
        assert!(upload.has_arrived() && !upload.fail("the connection was closed"));
        assert_eq!(upload.failure(), None);

        let upload = Upload::new(true);
        assert!(upload.fail("the connection was closed"));
        upload.arrives();
        assert_eq!(
            upload.failure().as_deref(),
            Some("the connection was closed")
        );

        assert!(!Upload::new(false).is_on_its_way());
    }
}
