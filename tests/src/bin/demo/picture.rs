//! A picture of whydrop's terminal, as SVG: the one in README.md.

use std::{
    fs,
    path::{self, Path},
    sync::{Arc, Mutex, PoisonError},
};

use anstyle_svg::Term;
use anyhow::{Context as _, Result, bail};

use crate::{
    screen::{Output, Screen, Shown},
    stage::Stage,
    stories,
};

/// The width of the terminal, in columns.
const COLUMNS: u16 = 110;

/// Plays the story of a NetworkPolicy that does not admit a connection, and draws what whydrop
/// shows of it.
///
/// Fails where the verdict does not come, and then leaves the file as it is.
pub(crate) fn draw(file: &Path) -> Result<()> {
    // Playing the story changes the working directory.
    let file = path::absolute(file)?;
    let written = Arc::new(Mutex::new(Vec::new()));
    let mut screen = Screen::new(Output::Memory {
        columns: COLUMNS,
        written: Arc::clone(&written),
    })?;
    let stage = Stage::build()?;
    let shown = play(&mut screen, &stage);
    let text = String::from_utf8_lossy(&written.lock().unwrap_or_else(PoisonError::into_inner))
        .replace('\r', "");
    screen.finish()?;
    shown?;
    fs::write(&file, Term::new().render_svg(&text))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("written: {}", file.display());
    Ok(())
}

fn play(screen: &mut Screen, stage: &Stage) -> Result<()> {
    let story = stories::of_policy();
    // The file's name is part of the picture.
    let cluster = stage.cluster()?;
    std::env::set_current_dir(cluster.parent().context("a file is in a directory")?)?;
    let arguments = [
        "shop/pay",
        "--from",
        "shop/cart",
        "--cluster",
        "cluster.json",
    ];
    require(screen.start(&arguments.map(str::to_owned))?)?;
    let broken = (story.play)(stage)?;
    let source = broken.source.to_string();
    require(screen.wait_for(&[&source, broken.marker, story.verdict])?)
}

fn require(shown: Shown) -> Result<()> {
    match shown {
        Shown::Yes => Ok(()),
        Shown::No => bail!("whydrop did not show the verdict"),
        Shown::Interrupted => bail!("interrupted"),
    }
}
