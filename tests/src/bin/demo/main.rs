//! The demo: whydrop runs in a lab, as a user would run it, while one connection after another is
//! broken.
//!
//! Each story waits for whydrop's record of it with the right verdict; a story without one is a
//! failure.

mod picture;
mod screen;
mod stage;
mod stories;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use whydrop_tests::tracer::watching;

use screen::{Output, Screen, Shown};
use stage::Stage;

/// Break connections in a lab of network namespaces, and show what whydrop says.
#[derive(Parser)]
struct Options {
    /// Draw one of the stories as SVG, and play no other.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

fn main() -> Result<()> {
    match Options::parse().picture {
        Some(file) => picture::draw(&file),
        None => demo(),
    }
}

fn demo() -> Result<()> {
    // Before the labs are built, so that Ctrl-C leaves nothing behind.
    let mut screen = Screen::new(Output::Stdout)?;
    let stage = Stage::build()?;
    let played = play(&mut screen, &stage);
    // whydrop ends before the namespaces that it watches do.
    let finished = screen.finish();
    played.and(finished)
}

/// Plays the stories, until the last one or until the user interrupts.
fn play(screen: &mut Screen, stage: &Stage) -> Result<()> {
    let cluster = stage.cluster()?.display().to_string();
    let mut arguments = ["--all", "--no-kube", "--cluster", &cluster]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(watching(&stage.namespaces()));
    screen.headline(
        "The lab: a node with three pods, a host outside, and two nodes with VXLAN between them",
    );
    if let Shown::Interrupted = screen.start(&arguments)? {
        return Ok(());
    }

    let stories = stories::all();
    let mut missing = 0;
    for (number, story) in stories.iter().enumerate() {
        let (number, all) = (number + 1, stories.len());
        screen.headline(&format!("{number}/{all} · {}", story.headline));
        let broken = (story.play)(stage)?;
        let source = broken.source.to_string();
        match screen.wait_for(&[&source, broken.marker, story.verdict])? {
            Shown::Yes => {}
            Shown::No => {
                missing += 1;
                screen.headline(&format!("no such verdict on {source}"));
            }
            Shown::Interrupted => return Ok(()),
        }
    }
    ensure!(
        missing == 0,
        "{missing} of {} stories did not get the expected verdict",
        stories.len()
    );
    screen.headline("Ctrl-C");
    Ok(())
}
