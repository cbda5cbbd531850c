//! Prints how older kernels differ from the newest: the rows of a table in `docs/kernels.md`.

use whydrop_tests::kernel::{DIFFERENCES, What};

fn main() {
    println!("| version | before it | from it on | why |");
    println!("|---|---|---|---|");
    for difference in DIFFERENCES {
        let (major, minor, patch) = difference.before;
        let before = match patch {
            0 => format!("{major}.{minor}"),
            patch => format!("{major}.{minor}.{patch}"),
        };
        let (then, since) = match difference.what {
            What::Drop { newest, older } => (place(older), place(newest)),
            What::Behavior(what) => (what.to_owned(), "no longer".to_owned()),
        };
        println!("| {before} | {then} | {since} | {} |", difference.why);
    }
}

fn place((reason, function): (&str, &str)) -> String {
    format!("`{reason}` in `{function}`")
}
