//! Where the image cannot be pulled: the program is streamed into a pod, once the user agrees.

use std::future::pending;

use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    super::{
        consent,
        pods::by_hand,
        stream::{self, Images, Program},
        upload::Upload,
    },
    Run,
    job::Job,
};
use crate::{cluster::source::api::client::plain, sink};

/// What the user is asked, or was.
#[derive(Default)]
pub(super) enum Question {
    #[default]
    Unasked,
    Asked(JoinHandle<bool>),
    Answered(bool),
}

impl Question {
    /// Returns once it is answered: whether by yes.
    pub(super) async fn answer(&mut self) -> bool {
        let Self::Asked(answer) = self else {
            return pending().await;
        };
        let is_yes = answer.await.unwrap_or(false);
        *self = Self::Answered(is_yes);
        is_yes
    }
}

impl Run<'_> {
    /// The image cannot be pulled on a node: says so, and offers another way in.
    pub(super) fn offer(&mut self, index: usize, why: &str) {
        if self.jobs[index].is_offered {
            return;
        }
        self.jobs[index].is_offered = true;
        let node = &self.nodes[index];
        let image = plain(&self.config.image);
        self.traces[index].note(&format!("the image {image} cannot be pulled there ({why})"));
        match self.ways(index) {
            Ok(Images { first, mut others }) => {
                self.traces[index].note(&format!(
                    "the node has the image {}: whydrop can be streamed into a pod of it, through its \
                     standard input",
                    plain(&first)
                ));
                others.push_front(first);
                self.jobs[index].ways = others;
            }
            Err(missing) => {
                let why = by_hand(Some(&missing), &node.name);
                self.traces[index].fail_with(&why);
                return;
            }
        }
        match &self.question {
            _ if self.config.yes => self.to_stream.push(index),
            Question::Answered(true) => self.to_stream.push(index),
            Question::Answered(false) => self.traces[index].fail_with(&by_hand(None, &node.name)),
            Question::Asked(_) => {}
            Question::Unasked => {
                self.question = Question::Asked(spawn_blocking(|| {
                    let asked = consent("stream it there?", "--yes streams it without asking");
                    asked.unwrap_or_else(|error| {
                        sink::note(&error.to_string());
                        false
                    })
                }));
            }
        }
    }

    /// Takes the answer, for all nodes that it is about.
    pub(super) fn answered(&mut self, is_yes: bool) {
        for index in 0..self.jobs.len() {
            let job = &self.jobs[index];
            if !job.is_offered || job.program.is_some() || self.traces[index].is_over {
                continue;
            }
            match is_yes {
                true => self.to_stream.push(index),
                false => self.traces[index].fail_with(&by_hand(None, &self.nodes[index].name)),
            }
        }
    }

    /// The images to try on a node.
    ///
    /// # Errors
    ///
    /// Nothing can be streamed. In words.
    fn ways(&self, index: usize) -> Result<Images, String> {
        if !self.session.attach {
            return Err("whydrop cannot be streamed there without `create pods/attach`".to_owned());
        }
        let node = &self.nodes[index];
        Program::read(self.config.program.as_deref(), node)?;
        stream::candidates(self.config.stream_into.as_deref(), node)
    }

    /// Puts a Job whose pod takes the program from its standard input in the place of a node's Job.
    pub(super) async fn stream(&mut self, index: usize) {
        let node = &self.nodes[index];
        let program = Program::read(self.config.program.as_deref(), node);
        let (image, program) = match (self.jobs[index].ways.pop_front(), program) {
            (Some(image), Ok(program)) => (image, program),
            (None, _) => {
                let missing = "no image of the node that was tried can take the program";
                return self.traces[index].fail_with(&by_hand(Some(missing), &node.name));
            }
            (_, Err(why)) => return self.traces[index].fail(&why),
        };
        self.delete(index);
        self.streamed += 1;
        let name = format!("{}-s{}", self.session.job_name(index), self.streamed);
        let manifest = stream::job(&self.manifests[index], &name, &image, &program);
        self.traces[index].note(&format!(
            "this creates Job {name} instead, with the image {}, and streams {} MB to it",
            plain(&image),
            program.0.len().div_ceil(1_000_000)
        ));
        let job = Job {
            is_offered: true,
            program: Some(program),
            upload: Upload::new(true),
            ways: std::mem::take(&mut self.jobs[index].ways),
            ..Job::new(name)
        };
        let old = std::mem::replace(&mut self.jobs[index], job);
        self.replaced.push(old);
        if let Err(error) = self.client.post(&self.session.jobs(), &manifest).await {
            self.traces[index].fail(&format!("cannot create it: {error}"));
        }
    }
}
