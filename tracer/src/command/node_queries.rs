//! The questions to the node that are being answered.

use std::collections::HashMap;

use tokio::task::{self, JoinSet};

use crate::{
    engine::QueryId,
    node::query::{Answer, Query},
};

/// The questions that are being answered.
#[derive(Default)]
pub(super) struct NodeQueries {
    tasks: JoinSet<Answer>,
    ids: HashMap<task::Id, QueryId>,
}

impl NodeQueries {
    pub(super) fn ask(&mut self, id: QueryId, query: Query) {
        let task = self.tasks.spawn(query.answer());
        self.ids.insert(task.id(), id);
    }

    /// Waits for the next answer; forever if nothing was asked. The answer is `None` if the task
    /// has failed. Can be cancelled without loss.
    pub(super) async fn next(&mut self) -> (QueryId, Option<Answer>) {
        loop {
            let (task, answer) = match self.tasks.join_next_with_id().await {
                Some(Ok((task, answer))) => (task, Some(answer)),
                Some(Err(error)) => (error.id(), None),
                None => std::future::pending().await,
            };
            if let Some(id) = self.ids.remove(&task) {
                return (id, answer);
            }
        }
    }
}
