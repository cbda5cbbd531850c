//! The demo: whydrop runs in a lab, as a user would run it, while one connection after the other
//! is broken before its eyes.
//!
//! Each story waits until whydrop has told its end and given the right verdict; one for which that
//! does not come is a failure.

mod screen;
mod stage;
mod stories;

use anyhow::{Result, ensure};
use whydrop_tests::tracer::watching;

use screen::{Screen, Shown};
use stage::Stage;

fn main() -> Result<()> {
    // Before anything is built, so that Ctrl-C leaves nothing behind.
    let mut screen = Screen::new()?;
    let stage = Stage::build()?;
    let played = play(&mut screen, &stage);
    // whydrop ends before what it watches goes.
    let finished = screen.finish();
    played.and(finished)
}

/// Tells the stories, until the last or until the user has had enough.
fn play(screen: &mut Screen, stage: &Stage) -> Result<()> {
    let cluster = stage.cluster()?.display().to_string();
    let mut arguments = ["--all", "--no-kube", "--cluster", &cluster]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(watching(&stage.namespaces()));
    screen.headline("A node with three pods and its cluster's objects, a host outside, and two nodes with VXLAN");
    if let Shown::Interrupted = screen.start(&arguments)? {
        return Ok(());
    }

    let stories = stories::all();
    let mut missing = 0;
    for (number, story) in stories.iter().enumerate() {
        let (number, all) = (number + 1, stories.len());
        screen.headline(&format!("{number}/{all} · {}", story.headline));
        let broken = (story.tell)(stage)?;
        let source = broken.source.to_string();
        match screen.wait_for(&[&source, broken.told, story.verdict])? {
            Shown::Yes => {}
            Shown::No => {
                missing += 1;
                screen.headline(&format!("… and whydrop did not judge {source}"));
            }
            Shown::Interrupted => return Ok(()),
        }
    }
    ensure!(
        missing == 0,
        "{missing} of {} stories were not told as they should be",
        stories.len()
    );
    screen.headline("Ctrl-C");
    Ok(())
}
