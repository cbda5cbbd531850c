//! The demo: whydrop runs in a lab, as a user would run it, while one connection after the other
//! is broken before its eyes.
//!
//! Each story waits until whydrop has shown its drop; one that does not show is a failure.

mod screen;
mod stage;
mod stories;

use anyhow::{Result, bail};
use whydrop_tests::tracer::watching;

use screen::{Screen, Shown};
use stage::Stage;

fn main() -> Result<()> {
    // Before anything is built, so that Ctrl-C leaves nothing behind.
    let mut screen = Screen::new()?;
    let stage = Stage::build()?;
    let stories = stories::all();

    let mut arguments = vec!["--all".to_owned(), "--no-kube".to_owned()];
    arguments.extend(watching(&stage.namespaces()));
    screen.headline("A node with two pods, a host outside, and two nodes with VXLAN between them");
    screen.start(&arguments)?;

    let mut missing = 0;
    for (number, story) in stories.iter().enumerate() {
        screen.headline(&format!(
            "{}/{} · {}",
            number + 1,
            stories.len(),
            story.headline
        ));
        let broken = (story.tell)(&stage)?;
        match screen.wait_for(&broken.source.to_string())? {
            Shown::Yes => {}
            Shown::No => {
                missing += 1;
                screen.headline(&format!("… and whydrop did not show {}", broken.source));
            }
            Shown::Interrupted => return screen.finish(),
        }
    }
    screen.headline("Ctrl-C");
    screen.finish()?;
    if missing > 0 {
        bail!("{missing} of {} drops did not show", stories.len());
    }
    Ok(())
}
