//! A picture of whydrop's terminal, as SVG: the one in README.md.

use std::{
    fs,
    path::{self, Path},
    sync::{Arc, Mutex, PoisonError},
};

use anstyle_svg::{Term, WIN10_CONSOLE};
use anyhow::{Context as _, Result, bail};

use crate::{
    screen::{Output, Screen, Shown},
    stage::Stage,
    stories,
};

/// The width of the terminal, in columns.
const COLUMNS: u16 = 110;

/// Dimmed text as the crate draws it, and as it can be read.
const DIMMED: [&str; 2] = ["opacity: 0.4", "opacity: 0.7"];

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
    shown.with_context(|| format!("this is not the picture:\n{text}"))?;
    let svg = Term::new().palette(WIN10_CONSOLE).render_svg(&text);
    fs::write(&file, svg.replace(DIMMED[0], DIMMED[1]))
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
    let arguments = arguments.map(str::to_owned);
    // Here a namespace is the node, so whydrop runs in it, as it would run on the node.
    let node = &stage.node.node;
    require(&node.enter(|| screen.start(&arguments))?)?;
    let broken = (story.play)(stage)?;
    let source = broken.source.to_string();
    require(&screen.wait_for(&[&source, broken.marker, story.verdict])?)
}

fn require(shown: &Shown) -> Result<()> {
    match shown {
        Shown::Yes => Ok(()),
        Shown::No => bail!("whydrop did not show the verdict"),
        Shown::Interrupted => bail!("interrupted"),
    }
}
